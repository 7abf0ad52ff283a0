-- The statements of the floor, each after its name.

-- read
SELECT t.*, ARRAY(SELECT c FROM clock_cycles c WHERE c.client_id = t.client_id AND c.ticket_id = t.id
    ORDER BY c.started_at, c.clock, c.cycle) AS cycles
FROM tickets t WHERE t.id = $1

-- page
SELECT t.id, t.ref, t.client_id, t.contact_id, t.status, t.priority, t.requested_priority, t.priority_source,
    t.complexity, t.level, NULL AS assignee_id, t.emergency, t.channel, t.category, t.subject, t.received_at,
    t.created_at, t.last_event_at AS updated_at, t.policy_version, n.clock AS next_clock, n.due_at AS next_due_at,
    EXISTS (SELECT FROM clock_cycles c WHERE c.client_id = t.client_id AND c.ticket_id = t.id
        AND c.due_at < least(coalesce(c.ended_at, $1), $1)) AS broken,
    t.version, NULL AS clocks, NULL AS allowed_acts
FROM tickets t LEFT JOIN LATERAL (
    SELECT c.clock, c.due_at FROM clock_cycles c WHERE c.client_id = t.client_id AND c.ticket_id = t.id
        AND c.ended_at IS NULL AND c.due_at >= $1 ORDER BY c.due_at LIMIT 1) n ON true
WHERE t.client_id = $2 AND t.contact_id = $3 ORDER BY t.created_at DESC, t.id DESC LIMIT $4

-- facts
SELECT nextval('ticket_refs') AS number,
    (SELECT coalesce(jsonb_agg(to_jsonb(a) || jsonb_build_object('plans', (
        SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]') FROM subscriptions s
        WHERE s.client_id = $1 AND s.agreement_id = a.id))), '[]')
    FROM agreements a WHERE a.client_id = $1) AS agreements,
    to_jsonb(c) AS contact
FROM contacts c WHERE c.client_id = $1 AND c.id = $2

-- add
WITH written AS (
    INSERT INTO tickets (id, client_id, contact_id, ref, channel, category, subject, description, details,
        outage_statement, asset_id, service, follow_up_of, eligibility_check_id, requested_priority, priority,
        priority_source, complexity, level, status, emergency, answered, late_logged, policy_version, warnings,
        received_at, created_at, last_event_at, acknowledged_at, last_number, version, next_at)
    VALUES ($4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26,
        $27, $28, $29, $30, $31, $32, $33, $34, $3)
    RETURNING client_id, id),
kept AS (INSERT INTO clock_cycles SELECT r.* FROM written, jsonb_populate_recordset(NULL::clock_cycles, $1) r),
logged AS (
    INSERT INTO events (client_id, ticket_id, number, version, kind, at, actor_role, actor_id, actor_client_id, data,
        internal, audience)
    SELECT w.client_id, w.id, r.* FROM written w, jsonb_to_recordset($2) r (number int, version int, kind text,
        at timestamptz, actor_role text, actor_id uuid, actor_client_id uuid, data jsonb, internal bool, audience jsonb)
    ORDER BY r.number)
SELECT 1 FROM written

-- save
WITH written AS (
    UPDATE tickets SET priority = $6, priority_source = $7, outage_statement = $8, level = $9, status = $10,
        emergency = $11, last_event_at = $12, acknowledged_at = $13, assignee_id = $14, assignee_level = $15,
        waits = $16, reminded_at = $17, rules_applied = $18, last_number = $19, version = $20, next_at = $3
    WHERE client_id = $4 AND id = $5 AND version = $20 - 1 RETURNING client_id, id),
kept AS (
    INSERT INTO clock_cycles SELECT r.* FROM written, jsonb_populate_recordset(NULL::clock_cycles, $1) r
    ON CONFLICT (client_id, ticket_id, clock, cycle) DO UPDATE SET kind = excluded.kind, clause = excluded.clause,
        target_seconds = excluded.target_seconds, base = excluded.base, warn_at = excluded.warn_at,
        warn_base = excluded.warn_base, calendar_revision = excluded.calendar_revision, due_at = excluded.due_at,
        pauses = excluded.pauses, warned = excluded.warned, detected_at = excluded.detected_at,
        ended_at = excluded.ended_at, end_reason = excluded.end_reason),
logged AS (
    INSERT INTO events (client_id, ticket_id, number, version, kind, at, actor_role, actor_id, actor_client_id, data,
        internal, audience)
    SELECT w.client_id, w.id, r.* FROM written w, jsonb_to_recordset($2) r (number int, version int, kind text,
        at timestamptz, actor_role text, actor_id uuid, actor_client_id uuid, data jsonb, internal bool, audience jsonb)
    ORDER BY r.number)
SELECT 1 FROM written

-- check
INSERT INTO eligibility_checks (client_id, id, contact_id, outcome, policy_version, as_of, created_at, created_by_role,
    created_by_id, request, decision, ticket_attempt)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, false)
