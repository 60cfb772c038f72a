-- The fifty trials that took longest
SELECT trial, task, method, method_params, seed, seconds, outcome
FROM trials
WHERE seconds IS NOT NULL
ORDER BY seconds DESC
LIMIT 50
