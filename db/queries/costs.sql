-- Time spent by family and method, over all runs
SELECT family, method, sum(attempts) AS attempts, sum(failed_attempts) AS failed_attempts, sum(seconds) AS seconds,
    sum(cpu_seconds) AS cpu_seconds
FROM costs
GROUP BY family, method
ORDER BY seconds DESC
