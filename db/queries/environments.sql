-- Environments and how many attempts ran in each
SELECT e.hostname, e.cpu, e.gpu, e.python, e.torch, e.git_commit, e.git_dirty, count(*) AS attempts
FROM attempts a JOIN environments e ON e.environment = a.environment
GROUP BY e.hostname, e.cpu, e.gpu, e.python, e.torch, e.git_commit, e.git_dirty
ORDER BY attempts DESC
