-- Runs, newest first
SELECT run, suite, engine, status, planned, started, finished
FROM runs
ORDER BY started DESC
