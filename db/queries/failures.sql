-- Trials that ended failed or quarantined, with their last error
SELECT trial, task, method, method_params, seed, state, outcome, attempts, error
FROM trials
WHERE state IN ('failed', 'quarantined')
ORDER BY task, method, method_params, seed
