-- usher in ClickHouse: the table that `usher ship clickhouse` fills, and ten questions to it.
-- Valid from version 18.16 (Debian 12) to today's.
--
--   usher ship clickhouse --schema | clickhouse-client --multiquery      makes the table and asks all ten once
--
-- Events come at least once. The table keeps one row of those with the same site, time and id, when it merges; FINAL
-- looks at it as if it had. Nothing is deleted here by itself: drop the partitions of months that are older than the
-- school keeps its log, as in
--   ALTER TABLE usher.blocked DROP PARTITION 202608;

CREATE DATABASE IF NOT EXISTS usher;

CREATE TABLE IF NOT EXISTS usher.blocked
(
    site        String,
    id          UInt64,          -- of the event at its site, increasing
    time        DateTime,        -- UTC inside; shown in the server's time zone
    microsecond UInt32,
    client      String,          -- address, empty where the profile is logged without
    device      String,
    profile     String,
    name        String,          -- asked for
    type        String,
    category    String,
    severity    Enum8('advisory' = 1, 'caution' = 2, 'danger' = 3),
    rule        String,
    source      String,
    matched     String,          -- the name that is listed: the one asked for, or one its answer leads to
    action      String,
    generation  UInt64           -- of the lists
)
ENGINE = ReplacingMergeTree()
PARTITION BY toYYYYMM(time)
ORDER BY (site, time, id);

-- 1. The last hour of severity danger, newest first.
SELECT site, time, client, device, profile, name, category
FROM usher.blocked FINAL
WHERE severity = 'danger' AND time >= now() - 3600
ORDER BY time DESC, id DESC
LIMIT 100;

-- 2. Lookups by site and severity, the last seven days.
SELECT site, severity, count() AS lookups, uniqExact(client) AS devices
FROM usher.blocked FINAL
WHERE time >= now() - 7 * 86400
GROUP BY site, severity
ORDER BY site, severity DESC;

-- 3. What is blocked most, by category.
SELECT category, count() AS lookups, uniqExact(client) AS devices
FROM usher.blocked FINAL
WHERE time >= now() - 7 * 86400
GROUP BY category
ORDER BY lookups DESC;

-- 4. Names that many devices of a site were refused: overblocking shows here first.
SELECT site, name, any(category) AS listed_as, uniqExact(client) AS devices, count() AS lookups
FROM usher.blocked FINAL
WHERE time >= now() - 7 * 86400
GROUP BY site, name
HAVING devices >= 5
ORDER BY devices DESC
LIMIT 50;

-- 5. Slow burn: devices with danger on many different days of the last six weeks.
SELECT site, client, uniqExact(toDate(time)) AS days, count() AS lookups, groupUniqArray(category) AS categories
FROM usher.blocked FINAL
WHERE severity = 'danger' AND time >= now() - 42 * 86400
GROUP BY site, client
HAVING days >= 4
ORDER BY days DESC, lookups DESC;

-- 6. Who tries ways around the filter: different names of the category bypass in a day.
SELECT site, client, toDate(time) AS day, uniqExact(name) AS ways, count() AS lookups
FROM usher.blocked FINAL
WHERE category = 'bypass' AND time >= now() - 7 * 86400
GROUP BY site, client, day
HAVING ways >= 3
ORDER BY ways DESC
LIMIT 50;

-- 7. The hours of the school day, by severity.
SELECT toHour(time) AS hour, severity, count() AS lookups
FROM usher.blocked FINAL
WHERE time >= now() - 28 * 86400
GROUP BY hour, severity
ORDER BY hour, severity;

-- 8. Names that are new in the trust: first seen in the last day, by five devices or more.
SELECT name, min(time) AS first, uniqExact(site, client) AS devices
FROM usher.blocked FINAL
GROUP BY name
HAVING first >= now() - 86400 AND devices >= 5
ORDER BY devices DESC
LIMIT 50;

-- 9. Sites that have gone quiet: is their usher still shipping?
SELECT site, max(time) AS newest, count() AS lookups
FROM usher.blocked FINAL
WHERE time >= now() - 30 * 86400
GROUP BY site
ORDER BY newest;

-- 10. Is the table whole? Events that came twice, and are counted once by FINAL.
SELECT site, count() AS sent, uniqExact(id) AS events
FROM usher.blocked
GROUP BY site
ORDER BY site;
