-- Primary metric of every task, best mean first (give :family, for instance quantization)
SELECT task, task_params, method, method_params, metric, direction, n, mean, sd, failed
FROM leaderboard
WHERE is_primary = 1 AND family = :family
ORDER BY task, task_params, mean IS NULL, CASE direction WHEN 'higher' THEN -mean ELSE mean END
