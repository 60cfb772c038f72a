-- Claims with their current verdicts
SELECT claim, paper, task, metric, verdict, effect, low, high, n, p_value, test, statement
FROM claims
ORDER BY paper, claim
