#include "config_option.h"

#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define TIB (1024 * 1024 * MIB)

#define END                                                                                                  \
	{                                                                                                    \
		.key = NULL                                                                                  \
	}
#define ONE(name, what, type, member, ...)                                                                   \
	{                                                                                                    \
		.key = name, .shape = SHAPE_ONE, .kind = &kind_##what, .at = offsetof(struct type, member),  \
		__VA_ARGS__                                                                                  \
	}
/* A kind that fills several members: it is given the struct. */
#define WHOLE(name, what, ...)                                                                               \
	{                                                                                                    \
		.key = name, .shape = SHAPE_ONE, .kind = &kind_##what, __VA_ARGS__                           \
	}
#define MANY(form, name, type, member, count, ...)                                                           \
	{                                                                                                    \
		.key = name, .shape = form, .at = offsetof(struct type, member),                             \
		.count_at = offsetof(struct type, count), .size = sizeof *((struct type *)0)->member,        \
		__VA_ARGS__                                                                                  \
	}
#define LIST(name, what, type, member, count, ...)                                                           \
	MANY(SHAPE_LIST, name, type, member, count, .kind = &kind_##what, __VA_ARGS__)
#define ITEMS(name, table, type, member, count, ...)                                                         \
	MANY(SHAPE_ITEMS, name, type, member, count, .fields = table, __VA_ARGS__)
#define NAMED(name, table, type, member, count, ...)                                                         \
	MANY(SHAPE_NAMED, name, type, member, count, .fields = table, __VA_ARGS__)
#define SECTION(name, table, ...)                                                                            \
	{                                                                                                    \
		.key = name, .shape = SHAPE_SECTION, .fields = table, __VA_ARGS__                            \
	}

static const char *const severities[] = { "advisory", "caution", "danger", NULL };
static const char *const risks[] = { "content", "contact", "conduct", "commerce", NULL };
static const char *const formats[] = { "auto", "ut1", "hosts", "domains", "wildcard", "adblock", "dnsmasq",
	"unbound", "rpz", NULL };
static const char *const tsig_algorithms[] = { "hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha224",
	"hmac-sha1", NULL };
static const char *const lease_formats[] = { "auto", "kea", "isc", "dnsmasq", "radius", NULL };
static const char *const canary_answers[] = { "nxdomain", "nodata", NULL };
static const char *const period_days[] = { "term", "holidays", "always", NULL };
static const char *const keyword_actions[] = { "block", "watch", NULL };
static const char *const signal_actions[] = { "off", "watch", "block", NULL };
static const char *const youtube_levels[] = { "off", "moderate", "strict", NULL };
static const char *const block_answers[] = { "nxdomain", "nodata", "null", "refused", NULL };
static const char *const defaults[] = { "resolve", "block", NULL };
static const char *const logs[] = { "off", "no-client", "full", NULL };
static const char *const alert_kinds[] = { "threshold", "slow-burn", "chase", "swarm", "operations", NULL };
static const char *const alert_details[] = { "full", "link", "counts", NULL };
static const char *const list_failures[] = { "closed", "open", NULL };
static const char *const access_fields[] = { "full", "counts", NULL };

/* clang-format off */
static const struct config_option category_options[] = {
	ONE("name", word_free, config_category, name, .required = true, .doc = "what profiles, sources and the log call it"),
	ONE("title", text, config_category, title, .required = true, .doc = "what people read"),
	ONE("risk", word_text, config_category, risk, .words = risks, .fallback = "content", .doc = "one of the four Cs: content, contact, conduct, commerce"),
	ONE("severity", word, config_category, severity, .words = severities, .required = true, .doc = "danger, caution or advisory"),
	ONE("sealed", bool, config_category, sealed, .fallback = "false", .doc = "blocked for everybody, always: no profile, rule or grant lifts it"),
	ONE("background", bool, config_category, background, .fallback = "false", .doc = "what pages and devices ask by themselves: set apart in episodes"),
	ONE("uksic", word_free, config_category, uksic, .fallback = "", .doc = "the row of `uksic` that it covers"),
	END
};

static const struct config_option uksic_options[] = {
	ONE("row", word_free, config_uksic_row, row, .required = true, .doc = "what categories call it"),
	ONE("title", text, config_uksic_row, title, .required = true, .doc = "as the UK Safer Internet Centre words it"),
	END
};

static const struct config_option period_options[] = {
	ONE(KEY_ITSELF, word_free, config_period, name, .doc = "what profiles call it"),
	ONE("when", word, config_period, when, .words = period_days, .fallback = "term", .doc = "in term, holidays, or always: see terms.holidays"),
	ONE("days", days, config_period, days, .fallback = "daily", .doc = "the days on which it begins: mon-fri, \"sat,sun\", daily"),
	ONE("from", time, config_period, from_min, .max = 1439, .required = true, .doc = "when it begins, \"12:10\""),
	ONE("to", time, config_period, to_min, .max = 1440, .required = true, .doc = "when it ends, up to \"24:00\"; before `from`: on the next day"),
	END
};

static const struct config_option recursion_options[] = {
	LIST("forward", forward, config, recursion.forward, recursion.forward_count, .max = 64, .doc = "address[@port][#tls-name] of resolvers to ask; empty: from the root"),
	ONE("dnssec", bool, config, recursion.dnssec, .fallback = "true", .doc = "validate answers"),
	ONE("trust-anchor", path, config, recursion.trust_anchor, .fallback = "/usr/share/dns/root.key", .doc = "the root's keys"),
	ONE("root-hints", path, config, recursion.root_hints, .fallback = "/usr/share/dns/root.hints", .doc = "where the root is"),
	ONE("allow-loopback", bool, config, recursion.allow_loopback, .fallback = "false", .doc = "ask servers on this machine too, for laboratories"),
	ONE("serve-stale", seconds, config, recursion.serve_stale_s, .max = 30 * DAY, .fallback = "1d", .doc = "how long an expired answer may stand in while upstream is silent; 0s: never"),
	END
};

static const struct config_option internal_zone_options[] = {
	ONE("zone", name, config_internal_zone, zone, .required = true, .below_suffix = true, .doc = "answered by the school's own servers, never sent upstream"),
	LIST("servers", forward, config_internal_zone, servers, server_count, .min = 1, .max = 16, .required = true, .doc = "address[@port] of each"),
	END
};

static const struct config_option cache_options[] = {
	ONE("size", size, config, cache_size, .min = MIB, .max = TIB, .fallback = "64MiB", .doc = "memory for answers"),
	ONE("max-ttl", seconds, config, cache_max_ttl_s, .min = SECOND, .max = 7 * DAY, .fallback = "1h", .doc = "the longest a client may keep an answer"),
	END
};

static const struct config_option mapping_options[] = {
	ONE(KEY_ITSELF, word_free, config_mapping, folder, .doc = "a folder of the list's tree"),
	ONE(VALUE_ITSELF, category, config_mapping, category, .doc = "the category of the names in it"),
	END
};

static const struct config_option tsig_options[] = {
	ONE("name", word_free, config_source, tsig.name, .fallback = "", .doc = "of the key, as the primary has it; \"\": not signed"),
	ONE("algorithm", word_text, config_source, tsig.algorithm, .words = tsig_algorithms, .fallback = "hmac-sha256", .doc = "hmac-sha256 hmac-sha384 hmac-sha512 hmac-sha224 hmac-sha1"),
	ONE("secret", secret, config_source, tsig.secret, .fallback = "", .doc = "in base64, as the primary has it"),
	END
};

static const struct config_option source_options[] = {
	ONE("name", word_free, config_source, name, .required = true, .doc = "what messages and the log call it"),
	ONE("url", source_url, config_source, url, .required = true, .doc = "where it is fetched: https://, http://, file:/// or axfr://HOST[@PORT]/ZONE"),
	ONE("format", word_text, config_source, format, .words = formats, .fallback = "auto", .doc = "auto ut1 hosts domains wildcard adblock dnsmasq unbound rpz"),
	ONE("category", category, config_source, category, .fallback = "", .doc = "the category of all its names"),
	NAMED("map", mapping_options, config_source, map, map_count, .max = 1024, .doc = "format ut1: folder: category; other folders are ignored"),
	ONE("licence", text, config_source, licence, .fallback = "", .doc = "what its makers ask, for the coverage report"),
	ONE("sha256", sha256, config_source, sha256, .fallback = "", .doc = "the only content to be taken"),
	LIST("must-block", name, config_source, must_block, must_block_count, .max = 100, .doc = "names it must list; content without one of them is held back"),
	LIST("must-pass", name, config_source, must_pass, must_pass_count, .max = 100, .doc = "names it must not list; content with one of them is held back"),
	ONE("key", minisign_key, config_source, key, .fallback = "", .doc = "minisign's public key, RWQ...: only content signed with it is taken"),
	ONE("signature", url, config_source, signature, .fallback = "", .doc = "where the signature is fetched; \"\": at the url with .minisig behind it"),
	SECTION("tsig", tsig_options, .doc = "url axfr://: the key that the transfer is signed with"),
	END
};

static const struct config_option lists_options[] = {
	ONE("starter", bool, config, starter, .fallback = "true", .doc = "the shipped starter list is a source beside the others"),
	ONE("keep-generations", number, config, keep_generations, .min = 1, .max = 1000, .fallback = "7", .doc = "how many to keep for `usher lists rollback`"),
	ONE("max-shrink", percent, config, max_shrink_percent, .fallback = "30%", .doc = "a source that loses more is held back"),
	LIST("must-pass", name, config, must_pass, must_pass_count, .max = 1000, .doc = "a source that lists one of these names is held back"),
	ONE("proxy", proxy, config, proxy, .fallback = "", .doc = "http://[user:password@]host:port that sources are fetched through; \"\": none"),
	ONE("ca-file", path, config, ca_file, .fallback = "", .doc = "certificates of authorities trusted for https sources, beside the system's"),
	ONE("timeout", seconds, config, fetch_timeout_s, .min = SECOND, .max = DAY, .fallback = "15m", .doc = "for fetching a source"),
	ONE("max-size", size, config, fetch_max_size, .min = KIB, .max = TIB, .fallback = "512MiB", .doc = "of a source, as it is fetched"),
	ONE("pull", folder_url, config, pull, .fallback = "", .doc = "URL or path of the folder lists of another usher: its generations are taken instead of sources"),
	ITEMS("sources", source_options, config, sources, source_count, .max = 256, .unique = true, .doc = "where lists come from"),
	END
};

static const struct config_option limit_options[] = {
	ONE("tcp-clients", number, config, limits.tcp_clients, .min = 1, .max = 1000000, .fallback = "4096", .doc = "TCP connections at a time"),
	ONE("tcp-per-client", number, config, limits.tcp_per_client, .min = 1, .max = 65535, .fallback = "64", .doc = "of them from one address"),
	ONE("tcp-idle", milliseconds, config, limits.tcp_idle_ms, .min = 100, .max = HOUR, .fallback = "10s", .doc = "a silent connection is closed after"),
	ONE("in-flight", number, config, limits.in_flight, .min = 1, .max = 1000000, .fallback = "4096", .doc = "lookups that wait for upstream"),
	ONE("in-flight-per-client", number, config, limits.in_flight_per_client, .min = 1, .max = 1000000, .fallback = "512", .doc = "of them from one address"),
	END
};

static const struct config_option blocked_network_options[] = {
	ONE(KEY_ITSELF, category, config_blocked_networks, category, .doc = "for profiles that block this category"),
	{ .key = VALUE_ITSELF, .shape = SHAPE_LIST, .kind = &kind_network, .at = offsetof(struct config_blocked_networks, networks),
	  .count_at = offsetof(struct config_blocked_networks, network_count), .size = sizeof(struct config_network), .doc = "answers with addresses in them are blocked" },
	END
};

static const struct config_option blocked_file_options[] = {
	ONE(KEY_ITSELF, category, config_blocked_files, category, .doc = "for profiles that block this category"),
	{ .key = VALUE_ITSELF, .shape = SHAPE_LIST, .kind = &kind_network_file, .at = offsetof(struct config_blocked_files, files),
	  .count_at = offsetof(struct config_blocked_files, file_count), .size = sizeof(struct config_network_file), .max = 64, .doc = "files of networks, one a line" },
	END
};

static const struct config_option tunnelling_options[] = {
	ONE("action", word, config, dns.tunnelling.action, .words = signal_actions, .fallback = "block", .doc = "off, watch or block: the zone, for the client, for a time"),
	ONE("names", number, config, dns.tunnelling.names, .min = 20, .max = 400, .fallback = "100", .doc = "different coded names of a client in a zone in an hour"),
	ONE("length", number, config, dns.tunnelling.length, .min = 20, .max = 240, .fallback = "50", .doc = "octets before the zone, from which a name may look coded"),
	ONE("entropy", decimal, config, dns.tunnelling.entropy, .min = 2000, .max = 6000, .fallback = "3.5", .doc = "bits a letter of them has, from which a name looks coded"),
	ONE("block-for", seconds, config, dns.tunnelling.block_s, .min = MINUTE, .max = 30 * DAY, .fallback = "1h", .doc = "how long"),
	END
};

static const struct config_option dns_options[] = {
	ONE("cookies", bool, config, dns.cookies, .fallback = "true", .doc = "DNS cookies, RFC 7873"),
	LIST("cookie-secrets", cookie_secret, config, dns.cookie_secrets, dns.cookie_secret_count, .max = 4, .doc = "32 hexadecimal digits each, the same on servers that share an address: the first makes cookies, all are accepted; []: random"),
	ONE("nsid", text, config, dns.nsid, .max = 255, .fallback = "", .doc = "server identifier, RFC 5001; \"\": not told"),
	ONE("version", text, config, dns.version, .max = 255, .fallback = "", .doc = "answer to version.bind; \"\": refused"),
	LIST("rebinding-exempt", name, config, dns.rebinding_exempt, dns.rebinding_exempt_count, .doc = "public names that may have private addresses, such as DNS block lists"),
	NAMED("blocked-networks", blocked_network_options, config, dns.blocked_networks, dns.blocked_networks_count, .max = 64, .doc = "category: networks no answer may point to"),
	ONE("lookalikes", word, config, dns.lookalikes, .words = signal_actions, .fallback = "watch", .doc = "names in other alphabets that read like a well-known one: off, watch or block"),
	SECTION("tunnelling", tunnelling_options, .doc = "data carried by names"),
	NAMED("blocked-network-files", blocked_file_options, config, dns.blocked_files, dns.blocked_files_count, .max = 64, .doc = "category: files of more such networks"),
	ONE("why-zone", name, config, dns.why_zone, .fallback = "usher.", .doc = "where TXT lookups tell why a name is blocked"),
	END
};

static const struct config_option log_options[] = {
	ONE("max-size", size, config, log_max_size, .min = MIB, .max = 1024 * TIB, .fallback = "8GiB", .doc = "of the block log on disk"),
	ONE("ring", size, config, log_ring, .min = 4 * KIB, .max = 1024 * MIB, .fallback = "16MiB", .doc = "of a worker's file of events not yet in the log"),
	END
};

static const struct config_option names_options[] = {
	ONE("enabled", bool, config, names.enabled, .fallback = "true", .doc = "count them; false: nothing is counted, and what was is removed"),
	ONE("days", number, config, names.days, .min = 1, .max = 90, .fallback = "14", .doc = "how long a day's counts are kept"),
	ONE("swarms", bool, config, names.swarms, .fallback = "true", .doc = "tell of sites that nobody here asked for before and many devices do now, though nothing blocks them"),
	ONE("learn-days", number, config, names.learn_days, .min = 0, .max = 89, .fallback = "7", .doc = "days of counts before any site is called new"),
	LIST("swarm-profiles", profile, config, names.swarm_profiles, names.swarm_profile_count, .max = CONFIG_PROFILES_MAX, .doc = "whose devices count; empty: those of the default profile"),
	END
};

static const struct config_option selftest_options[] = {
	LIST("must-block", name, config, selftest.must_block, selftest.must_block_count, .max = 1000, .doc = "names that must be blocked for every profile"),
	LIST("must-pass", name, config, selftest.must_pass, selftest.must_pass_count, .max = 1000, .doc = "names that must resolve for every profile"),
	END
};

static const struct config_option clickhouse_options[] = {
	ONE("url", url, config, ship.clickhouse_url, .fallback = "", .doc = "of its HTTP interface; \"\": none"),
	ONE("table", word_free, config, ship.clickhouse_table, .fallback = "usher.blocked", .doc = "database.table"),
	ONE("user", word_free, config, ship.clickhouse_user, .fallback = "default", .doc = "who may insert into it"),
	ONE("password-file", path, config, ship.clickhouse_password_file, .fallback = "", .doc = "file with the password in its first line; \"\": none"),
	END
};

static const char *const syslog_protocols[] = { "tcp", "udp", NULL };

static const struct config_option syslog_options[] = {
	ONE("to", address, config, ship.syslog_to, .port = 514, .fallback = "", .doc = "address@port of a collector; \"\": none"),
	ONE("protocol", word_text, config, ship.syslog_protocol, .words = syslog_protocols, .fallback = "tcp", .doc = "tcp udp"),
	END
};

static const struct config_option ship_options[] = {
	ONE("site", word_free, config, ship.site, .fallback = "school", .doc = "what tells this school's events from another's"),
	SECTION("clickhouse", clickhouse_options, .doc = "where `usher ship clickhouse` sends"),
	SECTION("syslog", syslog_options, .doc = "where `usher ship syslog` sends"),
	END
};

static const struct config_option alert_rule_options[] = {
	ONE("name", word_free, config_alert_rule, name, .required = true, .doc = "what the alert calls it"),
	ONE("kind", word, config_alert_rule, kind, .words = alert_kinds, .fallback = "threshold", .doc = "threshold, slow-burn, chase, swarm or operations"),
	ONE("severity", word, config_alert_rule, severity, .words = severities, .fallback = "danger", .doc = "of this severity and above"),
	ONE("count", number, config_alert_rule, count, .max = 1000000, .fallback = "0", .doc = "threshold: lookups of one client; slow-burn: weeks; chase: sites; swarm: clients; 0: 1, 3, 3, 5"),
	ONE("window", seconds, config_alert_rule, window_s, .max = 365 * DAY, .fallback = "0s", .doc = "within this time; 0s: 10m, 35d, 30m, 1h"),
	LIST("profiles", profile, config_alert_rule, profiles, profile_count, .max = CONFIG_PROFILES_MAX, .doc = "only of these; empty: of all that have no rules of their own"),
	ONE("categories", categories, config_alert_rule, categories, .doc = "only of these; empty: any"),
	LIST("quiet-hours", period, config_alert_rule, quiet, quiet_count, .max = 16, .doc = "periods in which it waits"),
	LIST("mail-to", mail, config_alert_rule, mail_to, mail_to_count, .max = 64, .doc = "who gets it instead of the addresses above"),
	ONE("webhook", hook, config_alert_rule, webhook, .fallback = "", .doc = "where it is posted instead"),
	END
};

static const struct config_option alert_options[] = {
	LIST("mail-to", mail, config, alerts.mail_to, alerts.mail_to_count, .max = 64, .doc = "who gets alerts by mail"),
	ONE("mail-from", mail, config, alerts.mail_from, .fallback = "", .doc = "whom they are from; \"\": usher at this machine"),
	ONE("sendmail", path, config, alerts.sendmail, .fallback = "/usr/sbin/sendmail", .doc = "the program that takes mail"),
	ONE("smtp", smtp, config, alerts.smtp, .fallback = "", .doc = "the mail server that takes mail, instead of sendmail: smtp://HOST:25 or smtps://HOST"),
	ONE("webhook", hook, config, alerts.webhook, .fallback = "", .doc = "where they are posted"),
	ONE("webhook-secret", path, config, alerts.webhook_secret, .fallback = "", .doc = "a file with the secret that posts are signed with"),
	ONE("syslog", bool, config, alerts.syslog, .fallback = "false", .doc = "a line in the system's log too, without names"),
	ONE("detail", word, config, alerts.detail, .words = alert_details, .fallback = "full", .doc = "full: client and names; link: how to look them up; counts: neither"),
	ONE("wait", seconds, config, alerts.wait_s, .max = 55 * SECOND, .fallback = "20s", .doc = "how long an alert may gather what belongs to it"),
	ITEMS("rules", alert_rule_options, config, alerts.rules, alerts.rule_count, .max = 64, .unique = true, .fallback = CONFIG_ALERT_RULES, .doc = "what is alerted"),
	END
};

static const struct config_option lease_options[] = {
	ONE("file", path, config_lease_file, file, .required = true, .doc = "the DHCP server's lease file; of radius the accounting files, `*` may stand in it"),
	ONE("format", word_text, config_lease_file, format, .words = lease_formats, .fallback = "auto", .doc = "auto, kea, isc, dnsmasq or radius"),
	END
};

static const struct config_option keyword_options[] = {
	ONE("match", keyword, config_keyword, match, .required = true, .doc = "a word in the name; `*` at an end: the word may go on there"),
	ONE("category", category, config_keyword, category, .required = true, .doc = "the category it shows: it counts for profiles that block or watch that one"),
	ONE("action", word_bool, config_keyword, watch, .words = keyword_actions, .fallback = "block", .doc = "block, or watch: resolve and log"),
	END
};

static const struct config_option term_options[] = {
	LIST("holidays", holiday, config, holidays, holiday_count, .max = 1000, .doc = "days without school: dates, ranges of dates, paths of ICS files"),
	END
};

static const struct config_option canary_options[] = {
	ONE("name", name, config_canary, name, .required = true, .doc = "a name that devices ask to learn whether they are filtered"),
	ONE("answer", word, config_canary, answer, .words = canary_answers, .fallback = "nxdomain", .doc = "nxdomain or nodata"),
	ONE("below", bool, config_canary, below, .fallback = "true", .doc = "names below it too"),
	END
};

static const struct config_option engine_options[] = {
	ONE("engine", word_free, config_engine, name, .required = true, .doc = "what the counters call it"),
	ONE("target", target, config_engine, target, .fallback = "", .doc = "where its names are sent"),
	ONE("moderate", target, config_engine, target_moderate, .fallback = "", .doc = "where they are sent when the profile's youtube level is moderate; `target` is then for strict"),
	WHOLE("addresses", addresses, .doc = "fixed addresses, for an engine without a target"),
	LIST("names", name, config_engine, names, name_count, .min = 1, .max = 4096, .required = true, .doc = "the exact names that are sent there"),
	END
};

static const struct config_option profile_period_options[] = {
	ONE(KEY_ITSELF, period, config_profile_period, period, .doc = "a period; in it, for this profile:"),
	ONE("block", categories, config_profile_period, block, .doc = "categories that are blocked as well"),
	ONE("unblock", categories, config_profile_period, unblock, .doc = "categories that are not blocked; sealed ones always are"),
	END
};

static const struct config_option profile_options[] = {
	ONE("name", word_free, config_profile, name, .required = true, .doc = "what commands and the log call it"),
	LIST("networks", network, config_profile, networks, network_count, .doc = "its clients; the longest network wins"),
	LIST("devices", mac, config_profile, devices, device_count, .doc = "MAC addresses of devices that are its own whatever their address, in networks this machine is connected to"),
	ONE("block", categories, config_profile, block, .doc = "categories that are blocked"),
	ONE("watch", categories, config_profile, watch, .doc = "categories that resolve and are logged"),
	LIST("allow-names", name, config_profile, allow_names, allow_count, .below_suffix = true, .doc = "never blocked by a category, with all below; sealed ones excepted"),
	LIST("block-names", name, config_profile, block_names, block_count, .doc = "always blocked, with all below"),
	ONE("safe-search", bool, config_profile, safe_search, .fallback = "true", .doc = "search engines answer under their safe names"),
	ONE("youtube", word, config_profile, youtube, .words = youtube_levels, .fallback = "strict", .doc = "strict, moderate or off"),
	WHOLE("block-answer", block_answer, .words = block_answers, .fallback = "nxdomain", .doc = "nxdomain, nodata, null, refused or [address, ...]"),
	ONE("block-ttl", seconds, config_profile, block_ttl_s, .max = DAY, .fallback = "30s", .doc = "how long clients keep it"),
	NAMED("periods", profile_period_options, config_profile, periods, period_count, .max = 256, .doc = "what differs at times"),
	ONE("internal", bool, config_profile, internal, .fallback = "true", .doc = "may see internal zones and local records"),
	ONE("rate-limit", number, config_profile, rate_limit, .max = 1000000, .fallback = "300", .doc = "queries a second and client; 0: none"),
	ONE("default", word_bool, config_profile, default_block, .words = defaults, .fallback = "resolve", .doc = "resolve, or block: only allow-names resolve"),
	ONE("log", word, config_profile, log, .words = logs, .fallback = "full", .doc = "full, no-client or off; sealed categories are always logged"),
	ONE("keep", seconds, config_profile, keep_s, .min = SECOND, .max = 3660 * DAY, .fallback = "90d", .doc = "how long the log of it is kept"),
	ONE("on-list-failure", word_bool, config_profile, open_on_list_failure, .words = list_failures, .fallback = "closed", .doc = "lists unreadable: closed (SERVFAIL) or open (resolve)"),
	ONE("strip-ech", bool, config_profile, strip_ech, .fallback = "true", .doc = "remove encrypted client hello keys from answers"),
	END
};

static const struct config_option access_options[] = {
	ONE(KEY_ITSELF, word_free, config_access, group, .doc = "dsl for the group usher-dsl"),
	LIST("profiles", profile, config_access, profiles, profile_count, .max = CONFIG_PROFILES_MAX, .doc = "whose log it may read"),
	ONE("fields", word_bool, config_access, counts_only, .words = access_fields, .fallback = "full", .doc = "full, or counts: numbers by category, severity and hour, no names, no clients"),
	END
};

/*
 * The order is that of reading and printing: what others name comes before them. The text of `fallback` is YAML.
 */
const struct config_option config_options[] = {
	{ .key = "include", .shape = SHAPE_INCLUDE, .doc = "further files, relative to this one" },
	LIST("listen", address, config, listen, listen_count, .min = 1, .max = 256, .fallback = "[0.0.0.0@53, \"::@53\"]", .doc = "UDP and TCP"),
	ONE("workers", workers, config, workers, .fallback = "0", .doc = "threads that answer; 0: one per processor"),
	ONE("user", word_free, config, user, .fallback = "usher", .doc = "after binding; ignored when not started as root"),
	ONE("recursor-user", word_free, config, recursor_user, .fallback = "usher-recursor", .doc = "of the process that asks the internet; the same as user where it does not exist"),
	ONE("state-dir", path, config, state_dir, .fallback = "/var/lib/usher", .doc = "lists, log and rules"),
	ONE("run-dir", path, config, run_dir, .max = 90, .fallback = "/run/usher", .doc = "control.sock log.sock stats.sock"),
	ONE("report-dir", path, config, report_dir, .fallback = "/var/lib/usher-reports", .doc = "reports in files: `usher forget` takes away those that name whom it erases"),
	ONE("stats-listen", address, config, stats_listen, .port = 9153, .fallback = "", .doc = "address@port for Prometheus; \"\": only the Unix socket"),
	LIST("serve", network, config, serve, serve_count, .max = 1024, .fallback = "[127.0.0.0/8, \"::1/128\", 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, \"fc00::/7\"]",
		.doc = "all others are refused"),
	SECTION("recursion", recursion_options, .recursor = true, .doc = "how answers are found"),
	ITEMS("internal-zones", internal_zone_options, config, internal_zones, internal_zone_count, .max = 1000, .recursor = true, .doc = "answered by the school's own servers"),
	LIST("local-records", record, config, records, record_count, .max = 10000, .doc = "zone-file lines that usherd answers itself"),
	LIST("protected-names", name, config, protected_names, protected_count, .below_suffix = true, .doc = "always resolve, with all below; the shipped names are added"),
	SECTION("cache", cache_options, .doc = "answers kept in memory"),
	ITEMS("uksic", uksic_options, config, uksic, uksic_count, .max = 256, .unique = true, .doc = "rows of the coverage report"),
	ITEMS("categories", category_options, config, categories, category_count, .max = CONFIG_CATEGORIES_MAX, .unique = true, .doc = "what names are about; at most 64"),
	SECTION("lists", lists_options, .doc = "where names come from"),
	SECTION("limits", limit_options, .recursor = true, .doc = "that one client or a flood can take"),
	SECTION("dns", dns_options, .doc = "details of answers"),
	SECTION("log", log_options, .doc = "what was blocked"),
	ITEMS("leases", lease_options, config, leases, lease_count, .max = 16, .unique = true, .doc = "DHCP lease files and RADIUS accounting: names of devices and users"),
	SECTION("selftest", selftest_options, .doc = "what `usher selftest` asks beside the lists and engines"),
	SECTION("ship", ship_options, .doc = "systems outside that keep the block log too"),
	ITEMS("keywords", keyword_options, config, keywords, keyword_count, .max = 4096, .doc = "words in names"),
	SECTION("terms", term_options, .doc = "when school is out"),
	LIST("known-names", name, config, known_names, known_name_count, .max = 10000, .doc = "names worth imitating, beside protected, listed and search engines' ones"),
	LIST("tunnel-exempt", name, config, tunnel_exempt, tunnel_exempt_count, .max = 10000, .doc = "zones whose services ask coded names"),
	LIST("delivery-names", name, config, delivery_names, delivery_count, .max = 4096, .below_suffix = true, .doc = "what delivers other sites' pictures and scripts: never a new site"),
	LIST("background-names", name, config, background_names, background_count, .max = 4096, .below_suffix = true, .doc = "what pages and devices ask by themselves: set apart in episodes"),
	ITEMS("canaries", canary_options, config, canaries, canary_count, .max = 1000, .doc = "names with fixed answers that keep devices from going around the filter"),
	ITEMS("safe-search", engine_options, config, engines, engine_count, .max = 64, .unique = true, .doc = "search engines and their safe names"),
	NAMED("periods", period_options, config, periods, period_count, .max = 256, .doc = "times of the school week"),
	ITEMS("profiles", profile_options, config, profiles, profile_count, .max = CONFIG_PROFILES_MAX, .unique = true, .doc = "groups of clients, and what each gets"),
	ONE("default-profile", profile, config, default_profile, .fallback = "pupils", .doc = "a served client in no profile's networks"),
	SECTION("names", names_options, .doc = "how often names are asked, without clients, for previews of list updates and swarms at new sites"),
	NAMED("access", access_options, config, access, access_count, .max = 64, .doc = "group suffix: what it may read of the log"),
	SECTION("alerts", alert_options, .doc = "what cannot wait"),
	END
};
/* clang-format on */
