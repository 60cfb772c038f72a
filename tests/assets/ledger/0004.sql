SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.attempt (
    id bigint NOT NULL,
    key text NOT NULL,
    trial_id bigint NOT NULL,
    run_id bigint NOT NULL,
    number bigint NOT NULL,
    outcome text NOT NULL,
    accepted bigint NOT NULL,
    started timestamp with time zone NOT NULL,
    finished timestamp with time zone NOT NULL,
    seconds double precision NOT NULL,
    cpu_seconds double precision NOT NULL,
    worker text NOT NULL,
    environment_id bigint,
    error text NOT NULL,
    info text NOT NULL,
    block bigint,
    CONSTRAINT attempt_accepted_check CHECK ((accepted = ANY (ARRAY[(0)::bigint, (1)::bigint]))),
    CONSTRAINT attempt_check CHECK (((accepted = 0) OR (outcome = 'ok'::text))),
    CONSTRAINT attempt_outcome_check CHECK (((outcome = 'ok'::text) OR (outcome = ANY (ARRAY['ok'::text, 'error'::text, 'timeout'::text, 'oom'::text, 'worker_lost'::text, 'infeasible'::text, 'invalid'::text, 'cancelled'::text]))))
);
CREATE TABLE public.attempt_text (
    attempt_id bigint NOT NULL,
    traceback text NOT NULL,
    stdout text NOT NULL,
    stderr text NOT NULL
);
CREATE TABLE public.environment (
    id bigint NOT NULL,
    hash text NOT NULL,
    content text NOT NULL,
    python text,
    torch text,
    ray text,
    hostname text,
    os text,
    cpu text,
    gpu text,
    git_commit text,
    git_dirty bigint,
    threads bigint
);
CREATE TABLE public.run (
    id bigint NOT NULL,
    run text NOT NULL,
    suite text NOT NULL,
    suite_text text NOT NULL,
    engine text NOT NULL,
    argv text NOT NULL,
    planned bigint NOT NULL,
    started timestamp with time zone NOT NULL,
    finished timestamp with time zone,
    status text NOT NULL,
    environment_id bigint,
    CONSTRAINT run_status_check CHECK ((status = ANY (ARRAY['running'::text, 'complete'::text, 'incomplete'::text, 'interrupted'::text, 'failed'::text, 'imported'::text])))
);
CREATE TABLE public.trial (
    id bigint NOT NULL,
    key text NOT NULL,
    task_config_id bigint NOT NULL,
    method_config_id bigint NOT NULL,
    seed bigint NOT NULL,
    state text NOT NULL,
    lease_owner text,
    lease_until double precision,
    attempts bigint NOT NULL,
    accepted_id bigint,
    last_id bigint,
    CONSTRAINT trial_check CHECK (((state = 'leased'::text) = ((lease_owner IS NOT NULL) AND (lease_until IS NOT NULL)))),
    CONSTRAINT trial_check1 CHECK (((state = 'done'::text) = (accepted_id IS NOT NULL))),
    CONSTRAINT trial_state_check CHECK (((state = 'done'::text) OR (state = ANY (ARRAY['pending'::text, 'leased'::text, 'done'::text, 'failed'::text, 'quarantined'::text]))))
);
CREATE VIEW public.attempts AS
 SELECT a.key AS attempt,
    t.key AS trial,
    r.run,
    a.number,
    a.outcome,
    a.accepted,
    a.started,
    a.finished,
    a.seconds,
    a.cpu_seconds,
    a.worker,
    e.hash AS environment,
    a.error,
    COALESCE(x.traceback, ''::text) AS traceback,
    COALESCE(x.stdout, ''::text) AS stdout,
    COALESCE(x.stderr, ''::text) AS stderr,
    a.info,
    a.block
   FROM ((((public.attempt a
     JOIN public.trial t ON ((t.id = a.trial_id)))
     JOIN public.run r ON ((r.id = a.run_id)))
     LEFT JOIN public.environment e ON ((e.id = a.environment_id)))
     LEFT JOIN public.attempt_text x ON ((x.attempt_id = a.id)));
CREATE TABLE public.audit (
    attempt_id bigint NOT NULL,
    condition text NOT NULL,
    verdict text NOT NULL,
    tolerance double precision NOT NULL,
    deviation double precision,
    metric text,
    at timestamp with time zone NOT NULL,
    CONSTRAINT audit_condition_check CHECK ((condition = ANY (ARRAY['same worker'::text, 'other worker'::text, 'other threads'::text]))),
    CONSTRAINT audit_verdict_check CHECK ((verdict = ANY (ARRAY['bitwise'::text, 'within tolerance'::text, 'different'::text])))
);
CREATE TABLE public.method_config (
    id bigint NOT NULL,
    method text NOT NULL,
    version bigint NOT NULL,
    params text NOT NULL
);
CREATE TABLE public.task_config (
    id bigint NOT NULL,
    family text NOT NULL,
    task text NOT NULL,
    version bigint NOT NULL,
    params text NOT NULL,
    data_fingerprint text NOT NULL,
    protocol bigint NOT NULL
);
CREATE VIEW public.audits AS
 SELECT a.key AS audit,
    t.key AS trial,
    tc.task,
    mc.method,
    x.condition,
    x.verdict,
    x.tolerance,
    x.deviation,
    x.metric,
    r.run,
    e.hash AS environment,
    x.at
   FROM ((((((public.audit x
     JOIN public.attempt a ON ((a.id = x.attempt_id)))
     JOIN public.trial t ON ((t.id = a.trial_id)))
     JOIN public.run r ON ((r.id = a.run_id)))
     JOIN public.task_config tc ON ((tc.id = t.task_config_id)))
     JOIN public.method_config mc ON ((mc.id = t.method_config_id)))
     LEFT JOIN public.environment e ON ((e.id = a.environment_id)));
CREATE TABLE public.claim (
    claim text NOT NULL,
    paper bigint NOT NULL,
    family text NOT NULL,
    statement text NOT NULL,
    task text NOT NULL,
    metric text NOT NULL,
    definition text NOT NULL,
    hash text NOT NULL,
    since timestamp with time zone NOT NULL
);
CREATE TABLE public.claim_revision (
    id bigint NOT NULL,
    claim text NOT NULL,
    hash text NOT NULL,
    statement text NOT NULL,
    definition text NOT NULL,
    since timestamp with time zone NOT NULL,
    replaced timestamp with time zone NOT NULL
);
CREATE VIEW public.claim_revisions AS
 SELECT claim,
    hash,
    statement,
    definition,
    since,
    replaced
   FROM public.claim_revision r;
CREATE TABLE public.verdict (
    id bigint NOT NULL,
    claim text NOT NULL,
    claim_hash text NOT NULL,
    verdict text NOT NULL,
    effect double precision,
    low double precision,
    high double precision,
    n bigint NOT NULL,
    p_value double precision,
    test text NOT NULL,
    detail text NOT NULL,
    trials text NOT NULL,
    decided timestamp with time zone NOT NULL,
    CONSTRAINT verdict_verdict_check CHECK ((verdict = ANY (ARRAY['supported'::text, 'refuted'::text, 'inconclusive'::text, 'not attempted'::text])))
);
CREATE VIEW public.claims AS
 SELECT c.claim,
    c.paper,
    c.family,
    c.statement,
    c.task,
    c.metric,
    c.definition,
    c.hash,
    v.verdict,
    v.effect,
    v.low,
    v.high,
    v.n,
    v.p_value,
    v.test,
    v.detail,
    v.trials,
    v.decided
   FROM (public.claim c
     LEFT JOIN public.verdict v ON ((v.id = ( SELECT max(w.id) AS max
           FROM public.verdict w
          WHERE ((w.claim = c.claim) AND (w.claim_hash = c.hash))))));
CREATE VIEW public.costs AS
 SELECT r.run,
    tc.family,
    tc.task,
    mc.method,
    count(DISTINCT a.trial_id) AS trials,
    count(*) AS attempts,
    sum(
        CASE
            WHEN (a.outcome = 'ok'::text) THEN 0
            ELSE 1
        END) AS failed_attempts,
    sum(a.seconds) AS seconds,
    sum(a.cpu_seconds) AS cpu_seconds
   FROM ((((public.attempt a
     JOIN public.run r ON ((r.id = a.run_id)))
     JOIN public.trial t ON ((t.id = a.trial_id)))
     JOIN public.task_config tc ON ((tc.id = t.task_config_id)))
     JOIN public.method_config mc ON ((mc.id = t.method_config_id)))
  GROUP BY r.run, tc.family, tc.task, mc.method;
CREATE TABLE public.curve_point (
    attempt_id bigint NOT NULL,
    metric_id bigint NOT NULL,
    step double precision NOT NULL,
    value double precision,
    kind text NOT NULL,
    CONSTRAINT curve_point_check CHECK (
CASE
    WHEN (kind = 'finite'::text) THEN (value IS NOT NULL)
    ELSE ((value IS NULL) AND (kind = ANY (ARRAY['nan'::text, '+inf'::text, '-inf'::text])))
END)
);
CREATE TABLE public.metric (
    id bigint NOT NULL,
    task text NOT NULL,
    metric text NOT NULL,
    unit text NOT NULL,
    direction text NOT NULL,
    doc text NOT NULL,
    is_primary bigint NOT NULL,
    curve text,
    declared bigint NOT NULL,
    low double precision,
    high double precision,
    CONSTRAINT metric_declared_check CHECK ((declared = ANY (ARRAY[(0)::bigint, (1)::bigint]))),
    CONSTRAINT metric_direction_check CHECK ((direction = ANY (ARRAY['lower'::text, 'higher'::text, 'none'::text]))),
    CONSTRAINT metric_is_primary_check CHECK ((is_primary = ANY (ARRAY[(0)::bigint, (1)::bigint])))
);
CREATE VIEW public.curves AS
 SELECT t.key AS trial,
    tc.family,
    tc.task,
    tc.version AS task_version,
    tc.params AS task_params,
    mc.method,
    mc.version AS method_version,
    mc.params AS method_params,
    t.seed,
    m.metric,
    x.step,
    x.value,
    x.kind,
    a.key AS attempt
   FROM (((((public.trial t
     JOIN public.task_config tc ON ((tc.id = t.task_config_id)))
     JOIN public.method_config mc ON ((mc.id = t.method_config_id)))
     JOIN public.attempt a ON ((a.id = t.accepted_id)))
     JOIN public.curve_point x ON ((x.attempt_id = t.accepted_id)))
     JOIN public.metric m ON ((m.id = x.metric_id)));
CREATE VIEW public.environments AS
 SELECT hash AS environment,
    content,
    python,
    torch,
    ray,
    hostname,
    os,
    cpu,
    gpu,
    git_commit,
    git_dirty,
    threads
   FROM public.environment e;
CREATE TABLE public.summary (
    task_config_id bigint NOT NULL,
    method_config_id bigint NOT NULL,
    metric_id bigint NOT NULL,
    n bigint NOT NULL,
    nonfinite bigint NOT NULL,
    mean double precision,
    m2 double precision,
    sd double precision,
    low double precision,
    high double precision
);
CREATE VIEW public.leaderboard AS
 SELECT tc.family,
    tc.task,
    tc.version AS task_version,
    tc.params AS task_params,
    mc.method,
    mc.version AS method_version,
    mc.params AS method_params,
    m.metric,
    m.unit,
    m.direction,
    m.is_primary,
    s.n,
    s.mean,
    s.sd,
    s.low AS min,
    s.high AS max,
    ( SELECT count(*) AS count
           FROM public.trial f
          WHERE ((f.task_config_id = s.task_config_id) AND (f.method_config_id = s.method_config_id) AND (f.state = ANY (ARRAY['failed'::text, 'quarantined'::text])))) AS failed,
    s.nonfinite,
    tc.data_fingerprint,
    tc.protocol
   FROM (((public.summary s
     JOIN public.task_config tc ON ((tc.id = s.task_config_id)))
     JOIN public.method_config mc ON ((mc.id = s.method_config_id)))
     JOIN public.metric m ON ((m.id = s.metric_id)))
UNION ALL
 SELECT tc.family,
    tc.task,
    tc.version AS task_version,
    tc.params AS task_params,
    mc.method,
    mc.version AS method_version,
    mc.params AS method_params,
    m.metric,
    m.unit,
    m.direction,
    m.is_primary,
    0 AS n,
    NULL::double precision AS mean,
    NULL::double precision AS sd,
    NULL::double precision AS min,
    NULL::double precision AS max,
    f.failed,
    0 AS nonfinite,
    tc.data_fingerprint,
    tc.protocol
   FROM (((( SELECT trial.task_config_id,
            trial.method_config_id,
            count(*) AS failed
           FROM public.trial
          WHERE (trial.state = ANY (ARRAY['failed'::text, 'quarantined'::text]))
          GROUP BY trial.task_config_id, trial.method_config_id) f
     JOIN public.task_config tc ON ((tc.id = f.task_config_id)))
     JOIN public.method_config mc ON ((mc.id = f.method_config_id)))
     JOIN public.metric m ON (((m.task = tc.task) AND (m.curve IS NULL))))
  WHERE (NOT (EXISTS ( SELECT 1
           FROM public.summary s
          WHERE ((s.task_config_id = f.task_config_id) AND (s.method_config_id = f.method_config_id)))));
CREATE TABLE public.measurement_array (
    attempt_id bigint NOT NULL,
    metric_ids integer[] NOT NULL,
    numbers double precision[] NOT NULL,
    CONSTRAINT measurement_array_check CHECK ((cardinality(metric_ids) = cardinality(numbers)))
);
CREATE VIEW public.measurement AS
 SELECT a.attempt_id,
    x.metric_id,
        CASE
            WHEN ((x.number > '-Infinity'::double precision) AND (x.number < 'Infinity'::double precision)) THEN x.number
            ELSE NULL::double precision
        END AS value,
        CASE
            WHEN ((x.number > '-Infinity'::double precision) AND (x.number < 'Infinity'::double precision)) THEN 'finite'::text
            WHEN (x.number = 'NaN'::double precision) THEN 'nan'::text
            WHEN (x.number > (0)::double precision) THEN '+inf'::text
            ELSE '-inf'::text
        END AS kind
   FROM public.measurement_array a,
    LATERAL UNNEST(a.metric_ids, a.numbers) x(metric_id, number);
CREATE TABLE public.method (
    method text NOT NULL,
    family text NOT NULL,
    version bigint NOT NULL,
    label text NOT NULL,
    doc text NOT NULL,
    paper bigint,
    knowledge text NOT NULL,
    params_schema text NOT NULL
);
CREATE VIEW public.methods AS
 SELECT method,
    family,
    version,
    label,
    doc,
    paper,
    knowledge,
    params_schema
   FROM public.method k;
CREATE VIEW public.metrics AS
 SELECT task,
    metric,
    unit,
    direction,
    doc,
    is_primary,
    curve,
    low,
    high
   FROM public.metric m;
CREATE TABLE public.paper (
    paper bigint NOT NULL,
    title text NOT NULL,
    family text NOT NULL,
    tier text NOT NULL,
    benchmark text NOT NULL
);
CREATE VIEW public.papers AS
 SELECT paper,
    title,
    family,
    tier,
    benchmark
   FROM public.paper p;
CREATE VIEW public.replicates AS
 SELECT t.key AS trial,
    a.key AS attempt,
    m.metric,
    x.value,
    x.kind,
    y.value AS accepted_value,
    y.kind AS accepted_kind
   FROM ((((public.attempt a
     JOIN public.trial t ON ((t.id = a.trial_id)))
     JOIN public.measurement x ON ((x.attempt_id = a.id)))
     JOIN public.metric m ON ((m.id = x.metric_id)))
     LEFT JOIN public.measurement y ON (((y.attempt_id = t.accepted_id) AND (y.metric_id = x.metric_id))))
  WHERE ((a.outcome = 'ok'::text) AND (a.accepted = 0));
CREATE TABLE public.run_tag (
    run_id bigint NOT NULL,
    tag text NOT NULL
);
CREATE TABLE public.run_trial (
    run_id bigint NOT NULL,
    trial_id bigint NOT NULL
);
CREATE VIEW public.run_trials AS
 SELECT r.run,
    t.key AS trial
   FROM ((public.run_trial x
     JOIN public.run r ON ((r.id = x.run_id)))
     JOIN public.trial t ON ((t.id = x.trial_id)));
CREATE VIEW public.runs AS
 SELECT r.run,
    r.suite,
    r.suite_text,
    r.engine,
    r.argv,
    r.planned,
    r.started,
    r.finished,
    r.status,
    e.hash AS environment
   FROM (public.run r
     LEFT JOIN public.environment e ON ((e.id = r.environment_id)));
CREATE VIEW public.scores AS
 SELECT t.key AS trial,
    tc.family,
    tc.task,
    tc.version AS task_version,
    tc.params AS task_params,
    mc.method,
    mc.version AS method_version,
    mc.params AS method_params,
    t.seed,
    m.metric,
    m.unit,
    m.direction,
    m.is_primary,
    x.value,
    x.kind,
    a.key AS attempt,
    tc.data_fingerprint,
    tc.protocol
   FROM (((((public.trial t
     JOIN public.task_config tc ON ((tc.id = t.task_config_id)))
     JOIN public.method_config mc ON ((mc.id = t.method_config_id)))
     JOIN public.attempt a ON ((a.id = t.accepted_id)))
     JOIN public.measurement x ON ((x.attempt_id = t.accepted_id)))
     JOIN public.metric m ON ((m.id = x.metric_id)));
CREATE TABLE public.submission (
    id bigint NOT NULL,
    submission text NOT NULL,
    board text NOT NULL,
    number bigint NOT NULL,
    submitter text NOT NULL,
    method text,
    note text NOT NULL,
    mechanism text NOT NULL,
    displayed double precision,
    released bigint NOT NULL,
    threshold double precision,
    budget_left double precision,
    at timestamp with time zone NOT NULL,
    CONSTRAINT submission_released_check CHECK ((released = ANY (ARRAY[(0)::bigint, (1)::bigint])))
);
CREATE VIEW public.submissions AS
 SELECT submission,
    board,
    number,
    submitter,
    method,
    note,
    mechanism,
    displayed,
    released,
    threshold,
    budget_left,
    at
   FROM public.submission s;
CREATE VIEW public.tags AS
 SELECT r.run,
    x.tag
   FROM (public.run_tag x
     JOIN public.run r ON ((r.id = x.run_id)));
CREATE TABLE public.task (
    task text NOT NULL,
    family text NOT NULL,
    version bigint NOT NULL,
    label text NOT NULL,
    doc text NOT NULL,
    params_schema text NOT NULL
);
CREATE VIEW public.tasks AS
 SELECT task,
    family,
    version,
    label,
    doc,
    params_schema
   FROM public.task k;
CREATE VIEW public.trials AS
 SELECT t.key AS trial,
    tc.family,
    tc.task,
    tc.version AS task_version,
    tc.params AS task_params,
    mc.method,
    mc.version AS method_version,
    mc.params AS method_params,
    t.seed,
    tc.data_fingerprint,
    tc.protocol,
    t.state,
    COALESCE(a.outcome, l.outcome) AS outcome,
    t.attempts,
    a.key AS attempt,
    COALESCE(a.seconds, l.seconds) AS seconds,
    l.error,
    COALESCE(a.finished, l.finished) AS finished
   FROM ((((public.trial t
     JOIN public.task_config tc ON ((tc.id = t.task_config_id)))
     JOIN public.method_config mc ON ((mc.id = t.method_config_id)))
     LEFT JOIN public.attempt a ON ((a.id = t.accepted_id)))
     LEFT JOIN public.attempt l ON ((l.id = t.last_id)));
CREATE VIEW public.verdicts AS
 SELECT v.claim,
    v.claim_hash,
        CASE
            WHEN (v.id = ( SELECT max(w.id) AS max
               FROM public.verdict w
              WHERE ((w.claim = c.claim) AND (w.claim_hash = c.hash)))) THEN 1
            ELSE 0
        END AS current,
    v.verdict,
    v.effect,
    v.low,
    v.high,
    v.n,
    v.p_value,
    v.test,
    v.detail,
    v.trials,
    v.decided
   FROM (public.verdict v
     JOIN public.claim c ON ((c.claim = v.claim)));
INSERT INTO public.alembic_version VALUES
	('0004');
INSERT INTO public.attempt VALUES
	(1, 'demo/t|demo/a|[]|0#1', 1, 1, 1, 'ok', 1, '2026-11-23 12:00:00.123456+00', '2026-11-23 12:00:02.123456+00', 2, 1.5, 'worker-1', 1, '', '{}', NULL),
	(2, 'demo/t|demo/b|[]|0#1', 2, 1, 1, 'ok', 1, '2026-11-23 12:00:00.123456+00', '2026-11-23 12:00:02.123456+00', 2, 1.5, 'worker-1', 1, '', '{}', NULL),
	(3, 'demo/t|demo/a|[]|1#1', 3, 1, 1, 'ok', 1, '2026-11-23 12:00:00.123456+00', '2026-11-23 12:00:02.123456+00', 2, 1.5, 'worker-1', 1, '', '{}', NULL),
	(4, 'demo/t|demo/b|[]|1#1', 4, 1, 1, 'ok', 1, '2026-11-23 12:00:00.123456+00', '2026-11-23 12:00:02.123456+00', 2, 1.5, 'worker-1', 1, '', '{}', NULL),
	(5, 'demo/t|demo/a|[]|2#1', 5, 1, 1, 'ok', 1, '2026-11-23 12:00:00.123456+00', '2026-11-23 12:00:02.123456+00', 2, 1.5, 'worker-1', 1, '', '{}', NULL),
	(6, 'demo/t|demo/a|[]|0#2', 1, 1, 2, 'ok', 0, '2026-11-23 12:00:00.123456+00', '2026-11-23 12:00:02.123456+00', 2, 1.5, 'worker-1', 1, '', '{}', 3),
	(7, 'demo/t|demo/b|[]|2#1', 6, 1, 1, 'oom', 0, '2026-11-23 12:00:00.123456+00', '2026-11-23 12:00:02.123456+00', 2, 1.5, 'worker-1', 1, 'Böse €.', '{}', NULL),
	(8, 'demo/t|demo/a|[]|3#1', 7, 1, 1, 'error', 0, '2026-11-23 12:00:00.123456+00', '2026-11-23 12:00:02.123456+00', 2, 1.5, 'worker-1', 1, '', '{}', NULL);
INSERT INTO public.attempt_text VALUES
	(8, 'line 1
line 2', 'out', '');
INSERT INTO public.audit VALUES
	(6, 'other worker', 'different', 1e-06, 1, 'loss', '2026-11-24 16:21:58.780525+00');
INSERT INTO public.claim VALUES
	('demo-claim', 6, 'demo', 'A beats B.', 'demo/t', 'loss', '{"kind":"better","margin":0.5}', 'hash-2', '2026-11-24 16:21:58.785698+00');
INSERT INTO public.claim_revision VALUES
	(1, 'demo-claim', 'hash-1', 'A beats B.', '{"kind":"better","margin":0.0}', '2026-11-24 16:21:58.752736+00', '2026-11-24 16:21:58.785188+00');
INSERT INTO public.curve_point VALUES
	(1, 2, 1, 0, 'finite'),
	(1, 2, 2, -1.5, 'finite'),
	(1, 2, 3, 0.1, 'finite'),
	(1, 2, 4, 1e+308, 'finite'),
	(1, 2, 5, -1.7976931348623157e+308, 'finite'),
	(1, 2, 6, 2.2250738585072014e-308, 'finite'),
	(1, 2, 7, 5e-324, 'finite'),
	(1, 2, 8, NULL, 'nan'),
	(1, 2, 9, NULL, '+inf'),
	(1, 2, 10, NULL, '-inf'),
	(2, 2, 1, 0, 'finite'),
	(2, 2, 2, -1.5, 'finite'),
	(2, 2, 3, 0.1, 'finite'),
	(2, 2, 4, 1e+308, 'finite'),
	(2, 2, 5, -1.7976931348623157e+308, 'finite'),
	(2, 2, 6, 2.2250738585072014e-308, 'finite'),
	(2, 2, 7, 5e-324, 'finite'),
	(2, 2, 8, NULL, 'nan'),
	(2, 2, 9, NULL, '+inf'),
	(2, 2, 10, NULL, '-inf'),
	(3, 2, 1, 0, 'finite'),
	(3, 2, 2, -1.5, 'finite'),
	(3, 2, 3, 0.1, 'finite'),
	(3, 2, 4, 1e+308, 'finite'),
	(3, 2, 5, -1.7976931348623157e+308, 'finite'),
	(3, 2, 6, 2.2250738585072014e-308, 'finite'),
	(3, 2, 7, 5e-324, 'finite'),
	(3, 2, 8, NULL, 'nan'),
	(3, 2, 9, NULL, '+inf'),
	(3, 2, 10, NULL, '-inf'),
	(4, 2, 1, 0, 'finite'),
	(4, 2, 2, -1.5, 'finite'),
	(4, 2, 3, 0.1, 'finite'),
	(4, 2, 4, 1e+308, 'finite'),
	(4, 2, 5, -1.7976931348623157e+308, 'finite'),
	(4, 2, 6, 2.2250738585072014e-308, 'finite'),
	(4, 2, 7, 5e-324, 'finite'),
	(4, 2, 8, NULL, 'nan'),
	(4, 2, 9, NULL, '+inf'),
	(4, 2, 10, NULL, '-inf'),
	(5, 2, 1, 0, 'finite'),
	(5, 2, 2, -1.5, 'finite'),
	(5, 2, 3, 0.1, 'finite'),
	(5, 2, 4, 1e+308, 'finite'),
	(5, 2, 5, -1.7976931348623157e+308, 'finite'),
	(5, 2, 6, 2.2250738585072014e-308, 'finite'),
	(5, 2, 7, 5e-324, 'finite'),
	(5, 2, 8, NULL, 'nan'),
	(5, 2, 9, NULL, '+inf'),
	(5, 2, 10, NULL, '-inf');
INSERT INTO public.environment VALUES
	(1, 'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee', '{"git_dirty":true,"hostname":"host-ä","python":"3.11.7","threads":1}', '3.11.7', NULL, NULL, 'host-ä', NULL, NULL, NULL, NULL, 1, 1);
INSERT INTO public.measurement_array VALUES
	(1, '{1,3,4,5,6,7,8,9,10,11,12}', '{1,0,-1.5,0.1,1e+308,-1.7976931348623157e+308,2.2250738585072014e-308,5e-324,NaN,Infinity,-Infinity}'),
	(2, '{1,3,4,5,6,7,8,9,10,11,12}', '{1,0,-1.5,0.1,1e+308,-1.7976931348623157e+308,2.2250738585072014e-308,5e-324,NaN,Infinity,-Infinity}'),
	(3, '{1,3,4,5,6,7,8,9,10,11,12}', '{0.5,0,-1.5,0.1,1e+308,-1.7976931348623157e+308,2.2250738585072014e-308,5e-324,NaN,Infinity,-Infinity}'),
	(4, '{1,3,4,5,6,7,8,9,10,11,12}', '{0.5,0,-1.5,0.1,1e+308,-1.7976931348623157e+308,2.2250738585072014e-308,5e-324,NaN,Infinity,-Infinity}'),
	(5, '{1,3,4,5,6,7,8,9,10,11,12}', '{0.3333333333333333,0,-1.5,0.1,1e+308,-1.7976931348623157e+308,2.2250738585072014e-308,5e-324,NaN,Infinity,-Infinity}'),
	(6, '{1}', '{7}');
INSERT INTO public.method VALUES
	('demo/a', 'demo', 1, 'A', 'Method A.', 6, '["labels"]', '{}'),
	('demo/b', 'demo', 1, 'B', '', NULL, '[]', '{}');
INSERT INTO public.method_config VALUES
	(1, 'demo/a', 1, '{}'),
	(2, 'demo/b', 1, '{}');
INSERT INTO public.metric VALUES
	(1, 'demo/t', 'loss', 'nats', 'lower', 'Loss on held-out data.', 1, NULL, 1, 0, NULL),
	(2, 'demo/t', 'path', 'nats', 'lower', 'Loss after each round.', 0, 'round', 1, NULL, NULL),
	(3, 'demo/t', 'odd0', '', 'none', '', 0, NULL, 0, NULL, NULL),
	(4, 'demo/t', 'odd1', '', 'none', '', 0, NULL, 0, NULL, NULL),
	(5, 'demo/t', 'odd2', '', 'none', '', 0, NULL, 0, NULL, NULL),
	(6, 'demo/t', 'odd3', '', 'none', '', 0, NULL, 0, NULL, NULL),
	(7, 'demo/t', 'odd4', '', 'none', '', 0, NULL, 0, NULL, NULL),
	(8, 'demo/t', 'odd5', '', 'none', '', 0, NULL, 0, NULL, NULL),
	(9, 'demo/t', 'odd6', '', 'none', '', 0, NULL, 0, NULL, NULL),
	(10, 'demo/t', 'odd7', '', 'none', '', 0, NULL, 0, NULL, NULL),
	(11, 'demo/t', 'odd8', '', 'none', '', 0, NULL, 0, NULL, NULL),
	(12, 'demo/t', 'odd9', '', 'none', '', 0, NULL, 0, NULL, NULL);
INSERT INTO public.paper VALUES
	(6, 'A paper', 'demo', 'core', 'loss');
INSERT INTO public.run VALUES
	(1, 'run-1', 'suite', 'name: suite
', 'inline', '["assay","run"]', 4, '2026-11-24 16:21:58.75527+00', '2026-11-24 16:21:58.786355+00', 'complete', 1);
INSERT INTO public.run_tag VALUES
	(1, 'nightly'),
	(1, 'größe 2');
INSERT INTO public.run_trial VALUES
	(1, 1),
	(1, 2),
	(1, 3),
	(1, 4),
	(1, 5),
	(1, 6),
	(1, 7),
	(1, 8);
INSERT INTO public.submission VALUES
	(1, 's1', 'guarded', 1, 'ann', 'demo/a', 'bits = 3 €', 'thresholdout', 0.52, 1, 0.04, 7, '2026-11-24 16:21:58.782454+00'),
	(2, 's2', 'guarded', 2, 'ann', 'demo/a', 'bits = 3 €', 'thresholdout', NULL, 0, 0.04, 7, '2026-11-24 16:21:58.783743+00');
INSERT INTO public.summary VALUES
	(1, 1, 1, 3, 0, 0.611111111111111, 0.24074074074074076, 0.3469443332443555, 0.3333333333333333, 1),
	(1, 1, 3, 3, 0, 0, 0, 0, 0, 0),
	(1, 1, 4, 3, 0, -1.5, 0, 0, -1.5, -1.5),
	(1, 1, 5, 3, 0, 0.1, 0, 0, 0.1, 0.1),
	(1, 1, 6, 3, 0, 1e+308, 0, 0, 1e+308, 1e+308),
	(1, 1, 7, 3, 0, -1.7976931348623157e+308, 0, 0, -1.7976931348623157e+308, -1.7976931348623157e+308),
	(1, 1, 8, 3, 0, 2.2250738585072014e-308, 0, 0, 2.2250738585072014e-308, 2.2250738585072014e-308),
	(1, 1, 9, 3, 0, 5e-324, 0, 0, 5e-324, 5e-324),
	(1, 1, 10, 0, 3, NULL, NULL, NULL, NULL, NULL),
	(1, 1, 11, 0, 3, NULL, NULL, NULL, NULL, NULL),
	(1, 1, 12, 0, 3, NULL, NULL, NULL, NULL, NULL),
	(1, 2, 1, 2, 0, 0.75, 0.125, 0.3535533905932738, 0.5, 1),
	(1, 2, 3, 2, 0, 0, 0, 0, 0, 0),
	(1, 2, 4, 2, 0, -1.5, 0, 0, -1.5, -1.5),
	(1, 2, 5, 2, 0, 0.1, 0, 0, 0.1, 0.1),
	(1, 2, 6, 2, 0, 1e+308, 0, 0, 1e+308, 1e+308),
	(1, 2, 7, 2, 0, -1.7976931348623157e+308, 0, 0, -1.7976931348623157e+308, -1.7976931348623157e+308),
	(1, 2, 8, 2, 0, 2.2250738585072014e-308, 0, 0, 2.2250738585072014e-308, 2.2250738585072014e-308),
	(1, 2, 9, 2, 0, 5e-324, 0, 0, 5e-324, 5e-324),
	(1, 2, 10, 0, 2, NULL, NULL, NULL, NULL, NULL),
	(1, 2, 11, 0, 2, NULL, NULL, NULL, NULL, NULL),
	(1, 2, 12, 0, 2, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.task VALUES
	('demo/t', 'demo', 1, 'Demo', 'A demonstration.', '{"type":"object"}');
INSERT INTO public.task_config VALUES
	(1, 'demo', 'demo/t', 1, '{"size":8}', 'data-1', 1);
INSERT INTO public.trial VALUES
	(2, 'demo/t|demo/b|[]|0', 1, 2, 0, 'done', NULL, NULL, 1, 2, 2),
	(3, 'demo/t|demo/a|[]|1', 1, 1, 1, 'done', NULL, NULL, 1, 3, 3),
	(4, 'demo/t|demo/b|[]|1', 1, 2, 1, 'done', NULL, NULL, 1, 4, 4),
	(5, 'demo/t|demo/a|[]|2', 1, 1, 2, 'done', NULL, NULL, 1, 5, 5),
	(6, 'demo/t|demo/b|[]|2', 1, 2, 2, 'failed', NULL, NULL, 1, NULL, 7),
	(1, 'demo/t|demo/a|[]|0', 1, 1, 0, 'done', NULL, NULL, 2, 1, 6),
	(7, 'demo/t|demo/a|[]|3', 1, 1, 3, 'pending', NULL, NULL, 1, NULL, 8),
	(8, 'demo/t|demo/b|[]|3', 1, 2, 3, 'leased', 'somebody', 1795537319.776287, 0, NULL, NULL);
INSERT INTO public.verdict VALUES
	(1, 'demo-claim', 'hash-1', 'inconclusive', -0.5, -0.7, 'Infinity', 5, 0.01, 'paired t', '{"note":"é"}', '["a","b"]', '2026-11-24 16:21:58.778354+00'),
	(2, 'demo-claim', 'hash-1', 'supported', -0.5, -0.7, 1, 5, 0.01, 'paired t', '{"note":"é"}', '["a","b"]', '2026-11-24 16:21:58.779286+00');
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_key_key UNIQUE (key);
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.attempt_text
    ADD CONSTRAINT attempt_text_pkey PRIMARY KEY (attempt_id);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (attempt_id);
ALTER TABLE ONLY public.claim
    ADD CONSTRAINT claim_pkey PRIMARY KEY (claim);
ALTER TABLE ONLY public.claim_revision
    ADD CONSTRAINT claim_revision_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.curve_point
    ADD CONSTRAINT curve_point_pkey PRIMARY KEY (attempt_id, metric_id, step);
ALTER TABLE ONLY public.environment
    ADD CONSTRAINT environment_hash_key UNIQUE (hash);
ALTER TABLE ONLY public.environment
    ADD CONSTRAINT environment_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.measurement_array
    ADD CONSTRAINT measurement_array_pkey PRIMARY KEY (attempt_id);
ALTER TABLE ONLY public.method_config
    ADD CONSTRAINT method_config_method_version_params_key UNIQUE (method, version, params);
ALTER TABLE ONLY public.method_config
    ADD CONSTRAINT method_config_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.method
    ADD CONSTRAINT method_pkey PRIMARY KEY (method);
ALTER TABLE ONLY public.metric
    ADD CONSTRAINT metric_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.metric
    ADD CONSTRAINT metric_task_metric_key UNIQUE (task, metric);
ALTER TABLE ONLY public.paper
    ADD CONSTRAINT paper_pkey PRIMARY KEY (paper);
ALTER TABLE ONLY public.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.run
    ADD CONSTRAINT run_run_key UNIQUE (run);
ALTER TABLE ONLY public.run_tag
    ADD CONSTRAINT run_tag_pkey PRIMARY KEY (run_id, tag);
ALTER TABLE ONLY public.run_trial
    ADD CONSTRAINT run_trial_pkey PRIMARY KEY (run_id, trial_id);
ALTER TABLE ONLY public.submission
    ADD CONSTRAINT submission_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.submission
    ADD CONSTRAINT submission_submission_key UNIQUE (submission);
ALTER TABLE ONLY public.summary
    ADD CONSTRAINT summary_pkey PRIMARY KEY (task_config_id, method_config_id, metric_id);
ALTER TABLE ONLY public.task_config
    ADD CONSTRAINT task_config_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.task_config
    ADD CONSTRAINT task_config_task_version_params_data_fingerprint_protocol_f_key UNIQUE (task, version, params, data_fingerprint, protocol, family);
ALTER TABLE ONLY public.task
    ADD CONSTRAINT task_pkey PRIMARY KEY (task);
ALTER TABLE ONLY public.trial
    ADD CONSTRAINT trial_key_key UNIQUE (key);
ALTER TABLE ONLY public.trial
    ADD CONSTRAINT trial_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.verdict
    ADD CONSTRAINT verdict_pkey PRIMARY KEY (id);
CREATE INDEX attempt_replicate ON public.attempt USING btree (id) WHERE ((outcome = 'ok'::text) AND (accepted = 0));
CREATE INDEX attempt_trial ON public.attempt USING btree (trial_id);
CREATE INDEX run_tag_tag ON public.run_tag USING btree (tag);
CREATE INDEX submission_board ON public.submission USING btree (board, number);
CREATE INDEX trial_config ON public.trial USING btree (task_config_id, method_config_id);
CREATE INDEX trial_failed ON public.trial USING btree (task_config_id, method_config_id) WHERE (state = ANY (ARRAY['failed'::text, 'quarantined'::text]));
CREATE INDEX trial_lease ON public.trial USING btree (lease_owner) WHERE (lease_owner IS NOT NULL);
CREATE INDEX verdict_claim ON public.verdict USING btree (claim, id);
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_environment_id_fkey FOREIGN KEY (environment_id) REFERENCES public.environment(id);
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.run(id);
ALTER TABLE ONLY public.attempt_text
    ADD CONSTRAINT attempt_text_attempt_id_fkey FOREIGN KEY (attempt_id) REFERENCES public.attempt(id);
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trial(id);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_attempt_id_fkey FOREIGN KEY (attempt_id) REFERENCES public.attempt(id);
ALTER TABLE ONLY public.claim_revision
    ADD CONSTRAINT claim_revision_claim_fkey FOREIGN KEY (claim) REFERENCES public.claim(claim);
ALTER TABLE ONLY public.run
    ADD CONSTRAINT run_environment_id_fkey FOREIGN KEY (environment_id) REFERENCES public.environment(id);
ALTER TABLE ONLY public.run_tag
    ADD CONSTRAINT run_tag_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.run(id);
ALTER TABLE ONLY public.run_trial
    ADD CONSTRAINT run_trial_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.run(id);
ALTER TABLE ONLY public.run_trial
    ADD CONSTRAINT run_trial_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trial(id);
ALTER TABLE ONLY public.trial
    ADD CONSTRAINT trial_method_config_id_fkey FOREIGN KEY (method_config_id) REFERENCES public.method_config(id);
ALTER TABLE ONLY public.trial
    ADD CONSTRAINT trial_task_config_id_fkey FOREIGN KEY (task_config_id) REFERENCES public.task_config(id);
ALTER TABLE ONLY public.verdict
    ADD CONSTRAINT verdict_claim_fkey FOREIGN KEY (claim) REFERENCES public.claim(claim);
GRANT USAGE ON SCHEMA public TO assay_reader;
GRANT SELECT ON TABLE public.attempts TO assay_reader;
GRANT SELECT ON TABLE public.audits TO assay_reader;
GRANT SELECT ON TABLE public.claim_revisions TO assay_reader;
GRANT SELECT ON TABLE public.claims TO assay_reader;
GRANT SELECT ON TABLE public.costs TO assay_reader;
GRANT SELECT ON TABLE public.curves TO assay_reader;
GRANT SELECT ON TABLE public.environments TO assay_reader;
GRANT SELECT ON TABLE public.leaderboard TO assay_reader;
GRANT SELECT ON TABLE public.methods TO assay_reader;
GRANT SELECT ON TABLE public.metrics TO assay_reader;
GRANT SELECT ON TABLE public.papers TO assay_reader;
GRANT SELECT ON TABLE public.replicates TO assay_reader;
GRANT SELECT ON TABLE public.run_trials TO assay_reader;
GRANT SELECT ON TABLE public.runs TO assay_reader;
GRANT SELECT ON TABLE public.scores TO assay_reader;
GRANT SELECT ON TABLE public.submissions TO assay_reader;
GRANT SELECT ON TABLE public.tags TO assay_reader;
GRANT SELECT ON TABLE public.tasks TO assay_reader;
GRANT SELECT ON TABLE public.trials TO assay_reader;
GRANT SELECT ON TABLE public.verdicts TO assay_reader;
