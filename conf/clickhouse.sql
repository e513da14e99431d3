-- usher in ClickHouse: the table that `usher ship clickhouse` fills, and ten questions to it.
-- Valid from version 18.16 (Debian 12) to today's.
--
--   usher ship clickhouse --schema | clickhouse-client --multiquery      makes the table and asks all ten once
--
-- A table of an earlier version gets the columns mac, confidence and identity by itself when `usher ship clickhouse` runs
-- next; where its user may not, somebody who may runs
--   ALTER TABLE usher.blocked ADD COLUMN mac String, ADD COLUMN confidence String, ADD COLUMN identity String;
-- (ADD COLUMN IF NOT EXISTS where the server is newer than 18.16).
-- Rows from before have them empty, and go by their address.
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
    device      String,          -- its name, or else its MAC address
    profile     String,
    name        String,          -- asked for
    type        String,
    category    String,
    severity    Enum8('advisory' = 1, 'caution' = 2, 'danger' = 3),
    rule        String,
    source      String,
    matched     String,          -- the name that is listed: the one asked for, or one its answer leads to
    action      String,
    generation  UInt64,          -- of the lists
    mac         String,          -- of the device that had the address then, empty where unknown
    confidence  String,          -- lease, radius, neighbour: sure; disputed, expired, shared: not; empty: unknown
    identity    String           -- whose the row is: the MAC address where that is sure, else the address
)
ENGINE = ReplacingMergeTree()
PARTITION BY toYYYYMM(time)
ORDER BY (site, time, id);

-- 1. The last hour of severity danger, newest first.
SELECT site, time, client, device, mac, confidence, profile, name, category
FROM usher.blocked FINAL
WHERE severity = 'danger' AND time >= now() - 3600
ORDER BY time DESC, id DESC
LIMIT 100;

-- 2. Lookups by site and severity, the last seven days.
SELECT site, severity, count() AS lookups, uniqExact(if(identity = '', client, identity)) AS devices
FROM usher.blocked FINAL
WHERE time >= now() - 7 * 86400
GROUP BY site, severity
ORDER BY site, severity DESC;

-- 3. What is blocked most, by category.
SELECT category, count() AS lookups, uniqExact(if(identity = '', client, identity)) AS devices
FROM usher.blocked FINAL
WHERE time >= now() - 7 * 86400
GROUP BY category
ORDER BY lookups DESC;

-- 4. Names that many devices of a site were refused: overblocking shows here first.
SELECT site, name, any(category) AS listed_as, uniqExact(if(identity = '', client, identity)) AS devices, count() AS lookups
FROM usher.blocked FINAL
WHERE time >= now() - 7 * 86400
GROUP BY site, name
HAVING devices >= 5
ORDER BY devices DESC
LIMIT 50;

-- 5. Slow burn: devices, whatever addresses they had, with danger on many different days of the last six weeks.
SELECT site, if(identity = '', client, identity) AS who, anyLast(device) AS called, groupUniqArray(client) AS clients,
    groupUniqArray(confidence) AS how_sure, uniqExact(toDate(time)) AS days, count() AS lookups, groupUniqArray(category) AS categories
FROM usher.blocked FINAL
WHERE severity = 'danger' AND time >= now() - 42 * 86400
GROUP BY site, who
HAVING days >= 4
ORDER BY days DESC, lookups DESC;

-- 6. Who tries ways around the filter: different names of the category bypass in a day.
SELECT site, if(identity = '', client, identity) AS who, anyLast(device) AS called, groupUniqArray(client) AS clients,
    groupUniqArray(confidence) AS how_sure, toDate(time) AS day, uniqExact(name) AS ways, count() AS lookups
FROM usher.blocked FINAL
WHERE category = 'bypass' AND time >= now() - 7 * 86400
GROUP BY site, who, day
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
SELECT name, min(time) AS first, uniqExact(site, if(identity = '', client, identity)) AS devices
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
