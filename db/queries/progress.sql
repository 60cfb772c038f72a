-- Trials by family and state
SELECT family, state, count(*) AS trials
FROM trials
GROUP BY family, state
ORDER BY family, state
