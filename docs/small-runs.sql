-- What small runs gave before this code existed (one model, one window set) beside the recorded run (five models, 256 windows each).
-- assay import docs/recorded/quantization --db q.db && assay sql --file docs/small-runs.sql --db q.db --format markdown
WITH small (what, method, params, value, metric, task, task_params) AS (
  VALUES
    ('4 bits: GPTQ', 'gptq', '{"bits":4,"act_order":false}', 0.011, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('4 bits: AdaRound', 'adaround', '{"bits":4}', 0.016, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('4 bits: HIGGS p=2 (4.125 b)', 'higgs', '{"bits":4,"p":2}', 0.038, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('4 bits: NF4 (4.25 b)', 'nf4', '{"block":128}', 0.038, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('4 bits: RTN g128', 'rtn', '{"bits":4,"per":"group","scales":"range"}', 0.055, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('4 bits: FP4', 'fp4', '{}', 0.073, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('3 bits: GPTQ', 'gptq', '{"bits":3,"act_order":false}', 0.063, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('3 bits: QAT (STE)', 'qat-ste', '{"bits":3}', 0.069, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('3 bits: HIGGS p=2 (3.125 b)', 'higgs', '{"bits":3,"p":2}', 0.178, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('3 bits: HQQ (3.5 b)', 'hqq', '{"bits":3}', 0.217, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('3 bits: RTN g128', 'rtn', '{"bits":3,"per":"group","scales":"range"}', 0.305, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('2 bits: QAT (STE)', 'qat-ste', '{"bits":2}', 0.46, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('2 bits: GPTQ', 'gptq', '{"bits":2,"act_order":false}', 0.67, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('2 bits: GPTQ act-order', 'gptq', '{"bits":2,"act_order":true}', 0.41, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('2 bits: HIGGS p=2', 'higgs', '{"bits":2,"p":2}', 0.92, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('2 bits: RTN', 'rtn', '{"bits":2,"per":"group"}', 1.72, 'bits_per_byte_increase', 'lm-weights', '{}'),
    ('MiniLM, 2 bits: RTN g128', 'rtn', '{"bits":2}', 0.35, 'cosine', 'encoder-weights', '{}'),
    ('MiniLM, 2 bits: HIGGS p=2', 'higgs', '{"bits":2,"p":2}', 0.64, 'cosine', 'encoder-weights', '{}'),
    ('Linearity, actual over predicted: HIGGS 4 b', 'higgs', '{"bits":4,"p":2}', 1.0, 'increase_ratio', 'linearity', '{}'),
    ('Linearity, actual over predicted: HIGGS 2 b', 'higgs', '{"bits":2,"p":2}', 1.95, 'increase_ratio', 'linearity', '{}'),
    ('Linearity, actual over predicted: GPTQ 4 b', 'gptq', '{"bits":4}', 0.19, 'increase_ratio', 'linearity', '{}'),
    ('DP bits, 3 on average', 'allocate-dp', '{"sensitivity":"noise"}', 0.156, 'bits_per_byte_increase', 'mixed-precision', '{"average":3.0}'),
    ('Uniform bits, 3', 'allocate-uniform', '{}', 0.238, 'bits_per_byte_increase', 'mixed-precision', '{"average":3.0}'),
    ('DP bits, 4 on average', 'allocate-dp', '{"sensitivity":"noise"}', 0.031, 'bits_per_byte_increase', 'mixed-precision', '{"average":4.0}'),
    ('Uniform bits, 4', 'allocate-uniform', '{}', 0.043, 'bits_per_byte_increase', 'mixed-precision', '{"average":4.0}'),
    ('CNN of width 8, 4 bits', 'net-lsq', '{"bits":4,"width":8}', 0.970, 'accuracy', 'qat', '{}'),
    ('CNN of width 4, float', 'net-float', '{"width":4,"continued":true}', 0.805, 'accuracy', 'qat', '{}')
)
SELECT s.what, s.value AS small_run, ROUND(l.mean, 4) AS recorded, ROUND(l.sd, 4) AS sd, l.n
FROM small s
LEFT JOIN leaderboard l
  ON l.task = 'quantization/' || s.task AND l.method = 'quantization/' || s.method AND l.metric = s.metric
  AND NOT EXISTS (SELECT 1 FROM json_each(s.params) p WHERE json_extract(l.method_params, '$.' || p.key) IS NOT p.value)
  AND NOT EXISTS (SELECT 1 FROM json_each(s.task_params) p WHERE json_extract(l.task_params, '$.' || p.key) IS NOT p.value)
