/*
 * The configuration: usher.yaml and its includes over the built-in defaults (the files of conf/, embedded), read through one
 * option table, checked as a whole, printed back. A struct config is immutable once read and is freed as a whole; all
 * strings, arrays and names in it belong to it. Indices (categories, profiles, engines, periods) are places in its arrays.
 *
 * Sources: DESIGN.md 4 for the keys. RFC 4632 (CIDR), RFC 4291 (IPv6 text).
 */
#ifndef USHER_CONFIG_H
#define USHER_CONFIG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "blocklists/name.h"
#include "calendar.h"
#include "cookie.h"

#define CONFIG_CATEGORIES_MAX 64
#define CONFIG_PROFILES_MAX 256

/* An IPv4 or IPv6 network in one space: IPv4 is ::ffff:0:0/96, so length is 96..128 for it. Host bits are zero. */
struct config_network {
	uint8_t address[16];
	uint8_t length;
};

struct config_address {                 /* address@port[#tls-name] */
	struct sockaddr_storage socket;
	socklen_t socket_len;
	const char *text;               /* as written */
	const char *tls_name;           /* NULL: plain DNS */
};

enum config_severity { SEVERITY_ADVISORY, SEVERITY_CAUTION, SEVERITY_DANGER };

struct config_category {
	const char *name, *title, *risk;
	const char *uksic;              /* row of the UKSIC table, "" if none */
	enum config_severity severity;
	bool sealed;
	bool background;                /* what pages and devices ask by themselves: set apart in episodes */
};

struct config_uksic_row {
	const char *row, *title;
};

struct config_source {
	const char *name, *url, *format;
	int category;                   /* -1: none (ut1 with a map) */
	struct config_mapping {         /* folder of a UT1 tree -> category */
		const char *folder;
		int category;
	} *map;
	size_t map_count;
	const char *licence;            /* "" unknown */
	const char *sha256;             /* "" not pinned */
	struct name *must_block, *must_pass; /* canaries */
	size_t must_block_count, must_pass_count;
	const char *key;                /* minisign's public key, "" not signed */
	const char *signature;          /* URL of the signature, "" url + ".minisig" */
	struct {                        /* of a zone's transfer; name "" not signed */
		const char *name, *algorithm, *secret;
	} tsig;
};

struct config_internal_zone {
	struct name zone;
	struct config_address *servers;
	size_t server_count;
};

/* A local record in wire form; several at one name and type are one RRset. */
struct config_record {
	struct name owner;
	uint16_t type;
	uint32_t ttl_s;
	uint16_t rdata_len;
	const uint8_t *rdata;           /* uncompressed */
	const char *text;               /* as written */
};

enum config_canary_answer { CANARY_NXDOMAIN, CANARY_NODATA };

struct config_canary {
	struct name name;
	enum config_canary_answer answer;
	bool below;                     /* names below it too */
};

/* How strict an engine's rewrite is; engines with one target use it for both. */
enum config_youtube { YOUTUBE_OFF, YOUTUBE_MODERATE, YOUTUBE_STRICT };

struct config_engine {
	const char *name;
	bool has_levels;                /* youtube: follows the profile's youtube level, not safe-search alone */
	struct name target;             /* the strict one; len 0 where there are only addresses */
	struct name target_moderate;    /* has_levels only */
	struct in_addr *v4;             /* fixed addresses instead of a target (Yandex) */
	size_t v4_count;
	struct in6_addr *v6;
	size_t v6_count;
	struct name *names;             /* exact names that are rewritten */
	size_t name_count;
};

/* A day is in term if terms.holidays does not name it. */
enum config_when { PERIOD_TERM, PERIOD_HOLIDAYS, PERIOD_ALWAYS };

struct config_period {
	const char *name;
	enum config_when when;          /* the kind of day on which it begins */
	uint8_t days;                   /* bit 0 Monday .. bit 6 Sunday: the day on which it begins */
	uint16_t from_min, to_min;      /* minutes after local midnight, to_min up to 1440; to <= from: over midnight */
};

enum config_block_answer { BLOCK_NXDOMAIN, BLOCK_NODATA, BLOCK_NULL, BLOCK_REFUSED, BLOCK_ADDRESS };
enum config_signal { SIGNAL_OFF, SIGNAL_WATCH, SIGNAL_BLOCK };
enum config_log { LOG_OFF, LOG_NO_CLIENT, LOG_FULL };

struct config_profile {
	const char *name;
	struct config_network *networks;
	size_t network_count;
	struct config_device {          /* its own, whatever their address (neighbours.h) */
		uint8_t mac[6];
	} *devices;
	size_t device_count;
	uint64_t block;                 /* bits of categories; sealed ones are added by policy, not here */
	uint64_t watch;                 /* categories that resolve and are logged, where they are not blocked */
	struct name *allow_names, *block_names;
	size_t allow_count, block_count;
	bool safe_search;
	enum config_youtube youtube;
	enum config_block_answer block_answer;
	struct in_addr *block_v4;       /* BLOCK_ADDRESS; a family without any gives NODATA */
	size_t block_v4_count;
	struct in6_addr *block_v6;
	size_t block_v6_count;
	uint32_t block_ttl_s;
	struct config_profile_period {
		unsigned period;        /* index into periods */
		uint64_t block, unblock;
	} *periods;
	size_t period_count;
	bool internal;
	uint32_t rate_limit;            /* queries a second and client, 0: none */
	bool default_block;             /* walled garden */
	enum config_log log;
	uint32_t keep_s;
	bool open_on_list_failure;
	bool strip_ech;
};

struct config {
	const char *file;               /* the main file, or "built-in" */
	struct config_address *listen;
	size_t listen_count;
	unsigned workers;               /* never 0: resolved to the number of processors */
	const char *user, *recursor_user;
	bool user_given, recursor_user_given; /* named by the file, so fatal if it does not exist */
	const char *state_dir, *run_dir, *report_dir;
	struct config_address stats_listen; /* socket_len 0: none */
	struct config_network *serve;
	size_t serve_count;
	unsigned default_profile;

	struct config_recursion {
		struct config_address *forward;
		size_t forward_count;
		bool dnssec;
		const char *trust_anchor, *root_hints;
		bool allow_loopback;
		uint32_t serve_stale_s;
	} recursion;
	struct config_internal_zone *internal_zones;
	size_t internal_zone_count;
	struct config_record *records;
	size_t record_count;
	struct name *protected_names;
	size_t protected_count;

	uint64_t cache_size;            /* octets */
	uint32_t cache_max_ttl_s;

	bool starter;                   /* lists.starter (default true): the shipped starter list is a source too */
	uint32_t keep_generations;
	uint32_t max_shrink_percent;
	struct name *must_pass;         /* what no list may list */
	size_t must_pass_count;
	const char *proxy;              /* URL for fetching lists, "" none; its password is printed by `usherd -p` alone */
	const char *ca_file;            /* authorities beside the system's, "" none */
	uint64_t fetch_max_size;        /* octets of a source */
	uint32_t fetch_timeout_s;       /* of a source */
	const char *pull;               /* URL or path of another usher's lists, "" own sources */
	struct config_source *sources;
	size_t source_count;
	struct config_category *categories;
	size_t category_count;
	uint64_t sealed;                /* bits of the sealed categories */
	uint64_t danger;                /* bits of the categories of severity danger */
	struct config_uksic_row *uksic;
	size_t uksic_count;

	struct config_limits {
		uint32_t tcp_clients, tcp_per_client, tcp_idle_ms, in_flight, in_flight_per_client;
	} limits;
	struct config_dns {
		bool cookies;
		struct cookie_secret *cookie_secrets; /* the first makes, all are accepted; none: a random one */
		size_t cookie_secret_count;
		const char *nsid, *version;     /* "": not told */
		struct name *rebinding_exempt;
		size_t rebinding_exempt_count;
		struct config_blocked_networks {
			unsigned category;
			struct config_network *networks;
			size_t network_count;
		} *blocked_networks;
		size_t blocked_networks_count;
		struct config_blocked_files {
			unsigned category;
			struct config_network_file {
				const char *path;
				struct config_network *networks; /* read with the configuration */
				size_t count;
			} *files;
			size_t file_count;
		} *blocked_files;
		size_t blocked_files_count;
		struct name why_zone;
		enum config_signal lookalikes;
		struct config_tunnelling {
			enum config_signal action;
			uint32_t names;   /* coded ones of a client and zone in an hour */
			uint32_t length;  /* octets before the zone */
			uint32_t entropy; /* thousandths of a bit a letter */
			uint32_t block_s;
		} tunnelling;
	} dns;
	uint64_t log_max_size, log_ring; /* octets; log_ring is a worker's */
	struct {
		bool enabled;
		uint32_t days;          /* how long a day is kept */
		bool swarms;            /* new sites of many devices are told: newcomers.h */
		uint32_t learn_days;
		unsigned *swarm_profiles;
		size_t swarm_profile_count; /* 0: the default profile */
	} names;
	struct config_selftest {        /* names of the school's own that it asks beside the others */
		struct name *must_block, *must_pass;
		size_t must_block_count, must_pass_count;
	} selftest;
	struct config_ship {            /* "" or socket_len 0: none */
		const char *site;
		const char *clickhouse_url, *clickhouse_table, *clickhouse_user, *clickhouse_password_file;
		struct config_address syslog_to;
		const char *syslog_protocol;
	} ship;
	struct config_access {
		const char *group;      /* suffix: dsl for usher-dsl */
		unsigned *profiles;
		size_t profile_count;
		bool counts_only;
	} *access;
	size_t access_count;

	struct config_alerts {
		const char **mail_to;
		size_t mail_to_count;
		const char *mail_from;  /* "" usher at this machine's name */
		const char *sendmail, *smtp; /* smtp "": sendmail is run */
		const char *webhook, *webhook_secret; /* "" none */
		bool syslog;
		enum config_alert_detail { ALERT_FULL, ALERT_LINK, ALERT_COUNTS } detail;
		uint32_t wait_s;
		struct config_alert_rule {
			const char *name;
			enum config_alert_kind { ALERT_THRESHOLD, ALERT_SLOW_BURN, ALERT_CHASE, ALERT_SWARM, ALERT_OPERATIONS } kind;
			enum config_severity severity; /* this and above: threshold, slow-burn */
			uint32_t count, window_s; /* never 0 once read */
			unsigned *profiles;
			size_t profile_count; /* 0: all but `own` of alerts */
			uint64_t categories; /* 0: any */
			unsigned *quiet;        /* periods */
			size_t quiet_count;
			const char **mail_to;   /* none: those of alerts */
			size_t mail_to_count;
			const char *webhook;    /* "": that of alerts */
		} *rules;
		size_t rule_count;
		/* by profile: a rule without categories names it and has recipients of its own, so rules that name no profile
		 * leave it out */
		bool own[CONFIG_PROFILES_MAX];
	} alerts;

	struct config_engine *engines;
	size_t engine_count;
	struct config_canary *canaries;
	size_t canary_count;
	struct name *known_names;       /* worth imitating, beside protected, engines' and listed ones */
	size_t known_name_count;
	struct name *tunnel_exempt;     /* coded names of these zones are no tunnel */
	size_t tunnel_exempt_count;
	struct name *background_names;  /* set apart in episodes, with all below */
	size_t background_count;
	struct name *delivery_names;    /* deliver other sites' pictures and scripts: never new sites, with all below */
	size_t delivery_count;
	struct config_period *periods;
	size_t period_count;
	const char **holidays;          /* terms.holidays: dates, ranges of dates, paths of ICS files */
	size_t holiday_count;
	struct calendar_range *holiday_ranges; /* their days, sorted, apart; those of ICS files if it was read from a file */
	size_t holiday_range_count;
	struct config_profile *profiles;
	size_t profile_count;

	struct config_keyword {
		const char *match;      /* as people read it, lower case, `*` at an end: see keywords.h */
		int category;
		bool watch;             /* resolve and log; else block */
	} *keywords;
	size_t keyword_count;

	struct config_lease_file {
		const char *file, *format; /* auto, kea, isc, dnsmasq, radius */
	} *leases;
	size_t lease_count;

	const char **warnings;          /* sentences on what was read but is not in effect, or looks wrong; for start and -n */
	size_t warning_count;
};

/* The rules where none are given, as YAML. */
#define CONFIG_ALERT_RULES "[{name: danger}, {name: slow-burn, kind: slow-burn}, {name: chase, kind: chase}, {name: swarm, kind: swarm}, {name: operations, kind: operations}]"

#define CONFIG_WHY_MAX 4096

/*
 * Reads file and its includes over the built-in defaults. Returns 0 and *out (release with config_free), or -EINVAL,
 * -ENOENT, … with `why` naming file, line, key, what was found and what is expected, one problem a line:
 *   "usher.yaml:12: profiles[2].networks[0]: found '10.20.0.0/33', expected a network such as 10.20.0.0/16"
 */
int config_read(struct config **out, const char *file, char why[CONFIG_WHY_MAX]);

/*
 * The same, for who only has to find usherd: of a file with mistakes (-EINVAL) *out is what tells run-dir, state-dir and
 * user, without profiles and categories. Of a file that is no YAML at all these are the usual ones.
 */
int config_read_damaged(struct config **out, const char *file, char why[CONFIG_WHY_MAX]);

/* The same from text; name stands for the file in messages, includes are relative to the working directory. */
int config_parse(struct config **out, const char *text, size_t len, const char *name, char why[CONFIG_WHY_MAX]);

/*
 * A configuration is shared by the main thread and the snapshots that workers hold, so it is counted: config_read() gives
 * one reference, config_free() drops one (NULL is fine). Thread safe.
 */
struct config *config_ref(struct config *config);
void config_free(struct config *config);

/* Prints what was understood, every key, as YAML that reads back to the same. */
void config_print(const struct config *config, FILE *to);

/* Prints only what the recursor process needs (recursion, internal-zones, limits.in-flight): the recursor reads it back. */
void config_print_recursion(const struct config *config, FILE *to);

/* What one of these prints, malloc()ed. NULL without memory. */
char *config_text(const struct config *config, void (*print)(const struct config *config, FILE *to), size_t *len);

/* Place of a category or profile by name, or -1. */
int config_category(const struct config *config, const char *name);
int config_profile(const struct config *config, const char *name);

/* Whether it names devices, by lease files or MAC addresses of profiles: then who had an address is
 * watched and written down, else nothing is. */
bool config_knows_devices(const struct config *config);

const char *config_severity_text(enum config_severity severity);

/* "10.20.0.0/16" or "2001:db8::/32"; len 1 in 16 of an IPv4 network is written as IPv4. */
void config_network_text(const struct config_network *network, char text[INET6_ADDRSTRLEN + 4]);

/* "30s", "10m", "1h", "90d" in milliseconds (also "500ms"). Returns 0 or -EINVAL (no unit, overflow, not a number). */
int config_duration_parse(const char *text, uint64_t *ms);

/* Parses an address or CIDR network (no slash: a host). Returns 0 or -EINVAL. */
int config_network_parse(struct config_network *network, const char *text);

#endif
