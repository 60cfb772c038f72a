-- Replicates that do not agree with the accepted value (reproducibility findings)
SELECT r.trial, t.task, t.method, t.seed, r.metric, r.accepted_value, r.value, r.value - r.accepted_value AS difference, r.kind,
    r.accepted_kind
FROM replicates r JOIN trials t ON t.trial = r.trial
WHERE r.value <> r.accepted_value OR r.kind <> r.accepted_kind
ORDER BY t.task, t.method, t.seed, r.metric
