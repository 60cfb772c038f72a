-- Do results come out again? Repetitions by task and condition, with the largest deviation.
SELECT task, condition, count(*) AS repetitions, sum(CASE WHEN verdict = 'bitwise' THEN 1 ELSE 0 END) AS bitwise,
    sum(CASE WHEN verdict = 'within tolerance' THEN 1 ELSE 0 END) AS within_tolerance,
    sum(CASE WHEN verdict = 'different' THEN 1 ELSE 0 END) AS different, max(deviation) AS largest_deviation
FROM audits GROUP BY task, condition ORDER BY task, condition
