#include "resolver/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "resolver/builtin.h"
#include "resolver/config_option.h"

static char why[CONFIG_WHY_MAX];

static struct config *good(const char *text)
{
	struct config *config;

	if (config_parse(&config, text, strlen(text), "usher.yaml", why) < 0)
		fail_msg("%s", why);
	return config;
}

/* The text is refused, and this is among the problems. */
static void bad(const char *text, const char *problem)
{
	struct config *config;
	int ret = config_parse(&config, text, strlen(text), "usher.yaml", why);

	if (ret == 0)
		fail_msg("taken: %s", text);
	assert_int_equal(ret, -EINVAL);
	assert_null(config);
	if (strstr(why, problem) == NULL)
		fail_msg("found\n%s\nexpected\n%s", why, problem);
}

static void file_with_mistakes_still_tells_where_usherd_is(void **state)
{
	static const struct {
		const char *text, *run_dir;
	} files[] = { { "run-dir: /run/here\nprofiles: 7\nbogus: 1\n", "/run/here" },
		{ "run-dir: [1]\n", "/run/usher" }, { "{", "/run/usher" }, { "", "/run/usher" } };
	char file[] = "/tmp/usher-config-XXXXXX";
	int fd = mkstemp(file);

	(void)state;
	assert_true(fd >= 0);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		struct config *config;
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, files[i].text, strlen(files[i].text), 0), strlen(files[i].text));
		int ret = config_read_damaged(&config, file, why);
		assert_int_equal(ret, *files[i].text == '\0' ? 0 : -EINVAL);
		assert_string_equal(config->run_dir, files[i].run_dir);
		if (ret < 0)
			assert_int_equal(config->profile_count + config->category_count, 0);
		config_free(config);
	}
	unlink(file);
	struct config *config;
	assert_int_equal(config_read_damaged(&config, file, why), -ENOENT);
	assert_null(config);
	close(fd);
}

static bool has_warning(const struct config *config, const char *text)
{
	for (size_t i = 0; i < config->warning_count; i++)
		if (strstr(config->warnings[i], text) != NULL)
			return true;
	return false;
}

static char *printed(const struct config *config)
{
	size_t len;
	char *text = config_text(config, config_print, &len);

	assert_non_null(text);
	assert_int_equal(strlen(text), len);
	return text;
}

static void same_when_read_again(const char *text)
{
	struct config *one = good(text), *two;
	char *first = printed(one);

	if (config_parse(&two, first, strlen(first), "printed", why) < 0)
		fail_msg("%s\n%s", why, first);
	char *second = printed(two);
	assert_string_equal(first, second);
	free(first);
	free(second);
	config_free(one);
	config_free(two);
}

/* A folder of its own for files, in the test's working directory. */
struct folder {
	char path[64];
};

static struct folder folder_make(void)
{
	struct folder folder = { "config-XXXXXX" };
	assert_non_null(mkdtemp(folder.path));
	return folder;
}

static const char *folder_file(const struct folder *folder, const char *name, const char *text)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", folder->path, name);
	FILE *to = fopen(path, "w");
	assert_non_null(to);
	fputs(text, to);
	fclose(to);
	return path;
}

static void folder_remove(const struct folder *folder)
{
	static const char *const names[] = { "main.yaml", "a.yaml", "b.yaml" };
	char path[128];

	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/%s", folder->path, names[i]);
		unlink(path);
	}
	rmdir(folder->path);
}

/* ---- what a configuration means ---- */

/* Every key of DESIGN.md 4. */
static const char every_key[] =
        "listen: [0.0.0.0@53, \"::@53\"]\n"
        "workers: 3\n"
        "user: usher\n"
        "recursor-user: usher-recursor\n"
        "state-dir: /var/lib/usher\n"
        "run-dir: /run/usher\n"
        "stats-listen: 127.0.0.1@9153\n"
        "serve: [127.0.0.0/8, \"::1/128\", 10.0.0.0/8, \"fc00::/7\"]\n"
        "default-profile: pupils\n"
        "recursion:\n"
        "  forward: [9.9.9.9, \"2620:fe::fe@853#dns.quad9.net\"]\n"
        "  dnssec: true\n"
        "  trust-anchor: /usr/share/dns/root.key\n"
        "  root-hints: /usr/share/dns/root.hints\n"
        "  allow-loopback: false\n"
        "  serve-stale: 1d\n"
        "internal-zones:\n"
        "  - {zone: ad.school.example, servers: [10.0.0.10, 10.0.0.11@5353]}\n"
        "local-records:\n"
        "  - \"intranet.school.example. 300 IN A 10.0.0.5\"\n"
        "  - \"school.example. 1h IN MX 10 mail.school.example.\"\n"
        "  - 'info.school.example. 60 IN TXT \"two words\" \"a \\\"quote\\\"\"'\n"
        "  - \"_ldap._tcp.school.example. 60 IN SRV 0 100 389 dc.school.example.\"\n"
        "  - \"web.school.example. 60 IN CNAME intranet.school.example.\"\n"
        "  - \"5.0.0.10.in-addr.arpa. 300 IN PTR intranet.school.example.\"\n"
        "  - \"v6.school.example. AAAA fd00::5\"\n"
        "protected-names: [ceop.police.uk, childline.org.uk, schule-müller.example]\n"
        "cache: {size: 64MiB, max-ttl: 1h}\n"
        "lists:\n"
        "  starter: false\n"
        "  keep-generations: 7\n"
        "  max-shrink: 30%\n"
        "  proxy: \"http://boss:geheim@proxy.school.example:3128\"\n"
        "  ca-file: /etc/usher/ca.pem\n"
        "  timeout: 5m\n"
        "  max-size: 64MiB\n"
        "  sources:\n"
        "    - {name: ut1, url: \"https://lists.example/blacklists.tar.gz\", format: ut1, map: {gambling: "
        "gambling, agressif: hate}}\n"
        "    - {name: drugs, url: \"file:///etc/usher/drugs.txt\", format: hosts, category: drugs, licence: "
        "Unlicense, key: RWQotFwKcM8x35UJ7JlFqjOTFdozDqFW6m1N9ciyiLcqykXJopsa9XC6}\n"
        "limits: {tcp-clients: 4096, tcp-per-client: 64, tcp-idle: 10s, in-flight: 4096, "
        "in-flight-per-client: 512}\n"
        "dns: {cookies: true, cookie-secrets: [00112233445566778899aabbccddeeff], nsid: \"\", version: "
        "\"9.9\", rebinding-exempt: [dnsbl.example], "
        "blocked-networks: {malware: [198.51.100.0/24]}, lookalikes: block, why-zone: usher., "
        "tunnelling: {action: watch, names: 50, length: 40, entropy: 3.25, block-for: 2h}}\n"
        "known-names: [bank.example]\n"
        "tunnel-exempt: [scanner.example]\n"
        "log: {max-size: 8GiB, ring: 16MiB}\n"
        "access: {dsl: {profiles: [pupils, guest]}, head: {profiles: [staff], fields: counts}}\n"
        "alerts: {mail-to: [dsl@school.example], webhook: \"\", rules: [{name: now, severity: danger, count: "
        "3, window: 10m, quiet-hours: [night]}, {name: staff, profiles: [staff], mail-to: "
        "[head@school.example]}]}\n"
        "leases: [{file: /var/lib/kea/leases4.csv, format: kea}]\n"
        "keywords: [{match: casino, category: gambling, action: watch}]\n"
        "terms: {holidays: [2026-12-21, \"2026-12-22..2027-01-03\", /etc/usher/terms.ics]}\n"
        "periods:\n"
        "  lunch: {days: mon-fri, from: \"12:10\", to: \"13:00\"}\n"
        "  night: {days: [sat, sun], from: \"22:00\", to: \"06:00\"}\n"
        "profiles:\n"
        "  - name: pupils\n"
        "    networks: [10.20.0.0/16, \"fd00:20::/48\"]\n"
        "    devices: [\"aa:bb:cc:dd:ee:01\", AA-BB-CC-DD-EE-02]\n"
        "    block: [adult, gambling, drugs, hate, self-harm, violence, piracy, malware, phishing, bypass, "
        "social, games]\n"
        "    watch: [chat]\n"
        "    allow-names: [wikipedia.org]\n"
        "    block-names: []\n"
        "    safe-search: true\n"
        "    youtube: strict\n"
        "    block-answer: nxdomain\n"
        "    block-ttl: 30s\n"
        "    periods: {lunch: {unblock: [games], block: [chat]}}\n"
        "    internal: true\n"
        "    rate-limit: 300\n"
        "    default: resolve\n"
        "    log: full\n"
        "    keep: 90d\n"
        "    on-list-failure: closed\n"
        "    strip-ech: true\n"
        "  - {name: staff, networks: [10.30.0.0/16], block: [adult, malware, phishing, bypass], youtube: "
        "moderate, log: no-client,\n"
        "     block-answer: [10.0.0.80, \"fd00::80\"]}\n"
        "  - {name: guest, networks: [10.99.0.0/16], block: [adult], internal: false, keep: 30d, default: "
        "block, on-list-failure: open,\n"
        "     block-answer: null}\n";

static void every_key_is_read(void **state)
{
	struct config *config = good(every_key);
	char text[INET6_ADDRSTRLEN + 4];

	assert_int_equal(config->listen_count, 2);
	assert_int_equal(((struct sockaddr_in *)&config->listen[0].socket)->sin_port, htons(53));
	assert_int_equal(config->listen[1].socket.ss_family, AF_INET6);
	assert_int_equal(config->workers, 3);
	assert_true(config->user_given && config->recursor_user_given);
	assert_int_equal(config->recursion.forward_count, 2);
	assert_string_equal(config->recursion.forward[1].tls_name, "dns.quad9.net");
	assert_int_equal(
	        ((struct sockaddr_in6 *)&config->recursion.forward[1].socket)->sin6_port, htons(853));
	assert_int_equal(config->recursion.serve_stale_s, 86400);
	assert_int_equal(config->internal_zones[0].server_count, 2);
	assert_int_equal(config->cache_size, 64 << 20);
	assert_int_equal(config->cache_max_ttl_s, 3600);
	assert_int_equal(config->max_shrink_percent, 30);
	assert_string_equal(config->proxy, "http://boss:geheim@proxy.school.example:3128");
	assert_string_equal(config->ca_file, "/etc/usher/ca.pem");
	assert_int_equal(config->fetch_timeout_s, 300);
	assert_int_equal(config->fetch_max_size, 64 << 20);
	assert_int_equal(config->source_count, 2);
	assert_string_equal(config->sources[0].key, "");
	assert_int_equal(strlen(config->sources[1].key), 56);
	assert_string_equal(config->sources[1].signature, "");
	assert_int_equal(config->sources[0].category, -1);
	assert_int_equal(config->sources[0].map[1].category, config_category(config, "hate"));
	assert_int_equal(config->sources[1].category, config_category(config, "drugs"));
	assert_int_equal(config->limits.tcp_idle_ms, 10000);
	assert_int_equal(
	        config->dns.blocked_networks[0].category, (unsigned)config_category(config, "malware"));
	config_network_text(config->dns.blocked_networks[0].networks, text);
	assert_string_equal(text, "198.51.100.0/24");
	assert_int_equal(config->log_max_size, UINT64_C(8) << 30);
	assert_int_equal(config->access[1].profiles[0], (unsigned)config_profile(config, "staff"));
	assert_false(config->access[0].counts_only);
	assert_true(config->access[1].counts_only);
	assert_int_equal(config->periods[0].days, 0x1f);
	assert_int_equal(config->periods[1].days, 0x60);
	assert_int_equal(config->periods[1].from_min, 22 * 60);
	assert_int_equal(
	        config->profiles[0].periods[0].unblock, UINT64_C(1) << config_category(config, "games"));
	assert_int_equal(config->profiles[1].block_answer, BLOCK_ADDRESS);
	assert_int_equal(config->profiles[1].block_v4_count, 1);
	assert_int_equal(config->profiles[1].block_v6_count, 1);
	assert_int_equal(config->profiles[1].log, LOG_NO_CLIENT);
	assert_int_equal(config->profiles[1].youtube, YOUTUBE_MODERATE);
	assert_int_equal(config->profiles[2].block_answer, BLOCK_NULL);
	assert_true(config->profiles[2].default_block && config->profiles[2].open_on_list_failure);
	assert_false(config->profiles[2].internal);
	assert_int_equal(config->profiles[2].keep_s, 30 * 86400);
	assert_string_equal(config->keywords[0].match, "casino");
	assert_true(config->keywords[0].watch);
	assert_int_equal(config->dns.lookalikes, SIGNAL_BLOCK);
	assert_int_equal(config->dns.tunnelling.action, SIGNAL_WATCH);
	assert_int_equal(config->dns.tunnelling.entropy, 3250);
	assert_int_equal(config->dns.tunnelling.block_s, 7200);
	assert_int_equal(config->known_name_count, 1);
	assert_int_equal(config->tunnel_exempt_count, 1);
	assert_int_equal(config->profiles[0].watch, UINT64_C(1) << config_category(config, "chat"));
	config_free(config);
}

static void devices_are_known_by_leases_or_their_own_addresses(void **state)
{
	static const struct {
		const char *text;
		bool knows;
	} cases[] = {
		{ "", false },
		{ "leases: [{file: /var/lib/kea/leases4.csv, format: kea}]\n", true },
		{ "profiles: [{name: pupils, networks: [10.0.0.0/8]}]\n", false },
		{ "profiles: [{name: pupils, networks: [10.0.0.0/8]}, "
		  "{name: staff, devices: [\"aa:bb:cc:dd:ee:01\"]}]\n",
		        true },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct config *config = good(cases[i].text);
		assert_int_equal(config_knows_devices(config), cases[i].knows);
		config_free(config);
	}
}

static void keywords_are_as_people_read_them(void **state)
{
	struct config *config = good("keywords: [{match: \"*CaSino\", category: gambling}, "
	                             "{match: \"КАЗИНО*\", category: gambling, action: watch}]\n");

	assert_string_equal(config->keywords[0].match, "*casino");
	assert_string_equal(config->keywords[1].match, "казино*");
	config_free(config);
}

static void records_are_in_wire_form(void **state)
{
	struct config *config = good(every_key);
	static const uint8_t address[] = { 10, 0, 0, 5 };
	static const uint8_t exchange[] = "\0\12\4mail\6school\7example";

	assert_int_equal(config->record_count, 7);
	assert_int_equal(config->records[0].type, 1);
	assert_int_equal(config->records[0].ttl_s, 300);
	assert_memory_equal(config->records[0].rdata, address, 4);
	assert_int_equal(config->records[1].type, 15);
	assert_int_equal(config->records[1].ttl_s, 3600);
	assert_int_equal(config->records[1].rdata_len, sizeof exchange);
	assert_memory_equal(config->records[1].rdata, exchange, sizeof exchange);
	assert_int_equal(config->records[2].rdata_len, 1 + 9 + 1 + 9);
	assert_int_equal(config->records[6].ttl_s, 300);
	config_free(config);
}

static void idn_becomes_a_labels(void **state)
{
	struct config *config = good(every_key);
	char text[NAME_TEXT_MAX];

	name_to_text(config->protected_names + 2, text);
	assert_string_equal(text, "xn--schule-mller-klb.example");
	config_free(config);
}

static void empty_file_is_all_defaults(void **state)
{
	static const char *const empties[] = { "", "\n\n", "# nothing\n", "---\n", "---\n...\n",
		"\xef\xbb\xbf# with a mark\n" };

	for (size_t i = 0; i < sizeof empties / sizeof *empties; i++) {
		struct config *config = good(empties[i]);
		assert_int_equal(config->listen_count, 2);
		assert_int_equal(config->serve_count, 6);
		assert_true(config->workers >= 1);
		assert_false(config->user_given);
		assert_string_equal(config->user, "usher");
		assert_string_equal(config->state_dir, "/var/lib/usher");
		assert_int_equal(config->stats_listen.socket_len, 0);
		assert_true(config->starter);
		assert_int_equal(config->source_count, 0);
		assert_int_equal(config->keep_generations, 7);
		assert_string_equal(config->proxy, "");
		assert_int_equal(config->fetch_timeout_s, 900);
		assert_int_equal(config->fetch_max_size, 512 << 20);
		assert_true(config->recursion.dnssec);
		assert_int_equal(config->limits.in_flight_per_client, 512);
		assert_int_equal(config->profile_count, 1);
		assert_int_equal(config->default_profile, 0);
		config_free(config);
	}
}

static void addresses_have_a_default_port(void **state)
{
	struct config *config =
	        good("listen: [127.0.0.1]\nstats-listen: 127.0.0.1\nrecursion: {forward: [10.0.0.1]}\n");

	assert_int_equal(((struct sockaddr_in *)&config->listen[0].socket)->sin_port, htons(53));
	assert_int_equal(((struct sockaddr_in *)&config->stats_listen.socket)->sin_port, htons(9153));
	assert_int_equal(((struct sockaddr_in *)&config->recursion.forward[0].socket)->sin_port, htons(53));
	config_free(config);
}

static void ten_lines_have_the_built_in_files(void **state)
{
	struct config *config = good("listen: [127.0.0.1@5300]\nstate-dir: /srv/usher\n"
	                             "profiles:\n  - {name: pupils, block: [adult, unsafe-search]}\n");
	const struct config_profile *pupils = config->profiles;

	assert_true(config->category_count >= 30);
	assert_true(config->engine_count >= 8);
	assert_true(config->canary_count >= 5);
	assert_true(config->protected_count >= 50);
	assert_true(config->uksic_count >= 20);
	assert_true(pupils->safe_search && pupils->internal && pupils->strip_ech);
	assert_int_equal(pupils->youtube, YOUTUBE_STRICT);
	assert_int_equal(pupils->block_answer, BLOCK_NXDOMAIN);
	assert_int_equal(pupils->block_ttl_s, 30);
	assert_int_equal(pupils->rate_limit, 300);
	assert_int_equal(pupils->log, LOG_FULL);
	assert_int_equal(pupils->keep_s, 90 * 86400);
	assert_false(pupils->open_on_list_failure);
	assert_false(pupils->default_block);
	config_free(config);
}

static void without_profiles_there_are_pupils(void **state)
{
	static const char *const texts[] = { "workers: 1\n", "profiles: []\n", "profiles:\n" };
	static const char *const blocked[] = { "adult", "gambling", "drugs", "hate", "self-harm", "violence",
		"piracy", "malware", "phishing", "bypass", "social", "games", "unsafe-search" };

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct config *config = good(texts[i]);
		uint64_t block = 0;
		assert_string_equal(config->profiles[0].name, "pupils");
		for (size_t k = 0; k < sizeof blocked / sizeof *blocked; k++)
			block |= UINT64_C(1) << config_category(config, blocked[k]);
		assert_int_equal(config->profiles[0].block, block);
		assert_int_equal(config->profiles[0].network_count, 0);
		config_free(config);
	}
	/* Also where the school's own categories lack some of those. */
	struct config *config = good("categories: [{name: games, title: Games, severity: advisory}]\n");
	assert_int_equal(config->profiles[0].block, UINT64_C(1));
	config_free(config);
}

static void classless_reverse_zones_are_names(void **state)
{
	same_when_read_again("internal-zones: [{zone: 0/25.2.0.192.in-addr.arpa, servers: [10.0.0.1]}]\n");
}

static void protected_names_are_added_to_the_shipped(void **state)
{
	struct config *shipped = good(""),
	              *more = good("protected-names: [school.example, samaritans.org]\n");

	assert_int_equal(more->protected_count, shipped->protected_count + 1);
	config_free(shipped);
	config_free(more);
}

static void a_given_key_replaces_the_built_in(void **state)
{
	struct config *config = good("canaries: [{name: only.example}]\nsafe-search: []\n");

	assert_int_equal(config->canary_count, 1);
	assert_true(config->canaries[0].below);
	assert_int_equal(config->engine_count, 0);
	config_free(config);
}

static void engines_have_their_targets(void **state)
{
	struct config *config = good("");
	unsigned levels = 0, with_addresses = 0;
	size_t google = 0;

	for (size_t i = 0; i < config->engine_count; i++) {
		const struct config_engine *engine = config->engines + i;
		levels += engine->has_levels;
		with_addresses += engine->v4_count == 1 && engine->target.len == 0;
		assert_true(engine->target.len > 0 || engine->v4_count > 0);
		if (strcmp(engine->name, "google") == 0)
			google = engine->name_count;
	}
	assert_int_equal(levels, 1);
	assert_int_equal(with_addresses, 1);
	assert_true(google >= 190);
	config_free(config);
}

/* ---- printing ---- */

static void printing_reads_back_to_the_same(void **state)
{
	same_when_read_again("");
	same_when_read_again(every_key);
	same_when_read_again("stats-listen: \"::1@9000\"\nprofiles: [{name: pupils, keep: 36h, block-ttl: "
	                     "0s, allow-names: ['a\\.b.example']}]\n"
	                     "dns: {nsid: 'a \"b\" \\ c: #d'}\nlimits: {tcp-idle: 1500ms}\n"
	                     "periods: {whole: {from: \"00:00\", to: \"24:00\"}, some: {days: \"fri-mon\", "
	                     "from: \"9:05\", to: \"10:00\"}}\n");
}

static void printing_names_no_user_that_no_file_names(void **state)
{
	struct config *config = good(""), *again;
	char *text = printed(config);

	assert_int_equal(config_parse(&again, text, strlen(text), "printed", why), 0);
	assert_false(again->user_given || again->recursor_user_given);
	config_free(again);
	config_free(config);
	free(text);
}

/* Reader and alerter are passed the configuration as text, and run with fewer rights than who read it. */
static void child_needs_no_file_of_blocked_networks(void **state)
{
	struct folder folder = folder_make();
	static const char text[] = "dns: {blocked-network-files: {malware: [/nowhere/drop.txt]}}\n";
	struct config *config = good(text);

	assert_int_equal(config->dns.blocked_files[0].files[0].count, 0);
	config_free(config);
	same_when_read_again(text);
	assert_int_equal(config_read(&config, folder_file(&folder, "main.yaml", text), why), -EINVAL);
	assert_non_null(strstr(why, "/nowhere/drop.txt"));
	folder_remove(&folder);
}

static void the_recursor_gets_what_it_needs(void **state)
{
	struct config *config = good(every_key), *recursor;
	size_t len;
	char *text = config_text(config, config_print_recursion, &len);

	assert_null(strstr(text, "profiles"));
	assert_int_equal(config_parse(&recursor, text, len, "recursion", why), 0);
	assert_int_equal(recursor->recursion.forward_count, 2);
	assert_string_equal(recursor->recursion.forward[1].tls_name, "dns.quad9.net");
	assert_int_equal(recursor->internal_zone_count, 1);
	assert_int_equal(recursor->limits.in_flight, 4096);
	free(text);
	config_free(config);
	config_free(recursor);
}

/* ---- mistakes: file, line, key, what was found, what is expected ---- */

struct mistake {
	const char *text, *problem;
};

static void all_bad(const struct mistake *mistakes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		bad(mistakes[i].text, mistakes[i].problem);
}

#define ALL_BAD(mistakes) all_bad(mistakes, sizeof mistakes / sizeof *mistakes)

static void unknown_or_second_key_is_named(void **state)
{
	static const struct mistake mistakes[] = {
		{ "lisen: [127.0.0.1@53]\n",
		        "usher.yaml:1: top level: found the unknown key 'lisen', expected 'listen'?" },
		{ "cache: {sise: 64MiB}\n",
		        "usher.yaml:1: cache: found the unknown key 'sise', expected 'size'?" },
		{ "cache: {color: red}\n",
		        "cache: found the unknown key 'color', expected one of size, max-ttl" },
		{ "profiles: [{name: pupils, safesearch: true}]\n",
		        "found the unknown key 'safesearch', expected 'safe-search'?" },
		{ "profiles: [{name: pupils, '*': true}]\n", "found the unknown key '*'" },
		{ "workers: 1\nworkers: 2\n",
		        "usher.yaml:2: workers: found a second time, expected once: line 1 has it already" },
		{ "cache:\n  size: 1MiB\n  size: 2MiB\n",
		        "usher.yaml:3: size: found a second time, expected once: line 2" },
	};

	ALL_BAD(mistakes);
}

static void value_of_another_kind_or_size_is_named(void **state)
{
	static const struct mistake mistakes[] = {
		{ "workers: 1\nlisten:\n  - 127.0.0.1@70000\n",
		        "usher.yaml:3: listen[0]: found '127.0.0.1@70000', expected a port from 1 to 65535" },
		{ "workers: many\n", "usher.yaml:1: workers: found 'many', expected a number from 0" },
		{ "workers: -1\n", "workers: found '-1', expected a number" },
		{ "workers: [1]\n", "workers: found a list, expected one value" },
		{ "workers: 100000000000000000000\n",
		        "workers: found '100000000000000000000', expected a number" },
		{ "cache: big\n", "cache: found 'big', expected a map" },
		{ "cache: {max-ttl: 30}\n", "usher.yaml:1: cache.max-ttl: found '30', expected a duration "
		                            "with its unit, such as 30s, 10m, 1h or 90d" },
		{ "cache: {max-ttl: 0s}\n",
		        "cache.max-ttl: found '0s', expected a duration from 1s to 7d in whole seconds" },
		{ "cache: {max-ttl: 1500ms}\n", "in whole seconds" },
		{ "cache: {max-ttl: -1s}\n", "expected a duration with its unit" },
		{ "cache: {max-ttl: 99999999999999999999d}\n", "expected a duration" },
		{ "cache: {size: 64}\n", "usher.yaml:1: cache.size: found '64', expected a size with its "
		                         "unit, such as 64MiB" },
		{ "cache: {size: 1KiB}\n", "cache.size: found '1KiB', expected a size from 1MiB" },
		{ "lists: {max-shrink: 30}\n", "lists.max-shrink: found '30', expected a percentage" },
		{ "lists: {max-shrink: 130%}\n",
		        "lists.max-shrink: found '130%', expected a percentage from 0% to 100%" },
		{ "lists: {max-shrink: -3%}\n", "expected a percentage" },
		{ "recursion: {dnssec: maybe}\n", "recursion.dnssec: found 'maybe', expected true or false" },
		{ "state-dir: var/lib\n", "state-dir: found 'var/lib', expected an absolute path" },
		{ "state-dir:\n", "state-dir: found nothing, expected an absolute path" },
	};

	ALL_BAD(mistakes);
}

static void address_or_network_that_is_none_is_named(void **state)
{
	static const struct mistake mistakes[] = {
		{ "listen: [127.0.0.1@0]\n", "expected a port" },
		{ "listen: [localhost@53]\n",
		        "usher.yaml:1: listen[0]: found 'localhost@53', expected an address" },
		{ "listen: []\n", "usher.yaml:1: listen: found 0, expected at least 1" },
		{ "listen:\n", "usher.yaml:1: listen: found 0" },
		{ "listen: 127.0.0.1@53\n",
		        "usher.yaml:1: listen: found '127.0.0.1@53', expected a list such as [" },
		{ "listen: {a: b}\n", "listen: found a map, expected a list" },
		{ "serve: [[10.0.0.0/8]]\n", "usher.yaml:1: serve[0]: found a list, expected 10.20.0.0/16" },
		{ "recursion: {forward: [dns.example]}\n",
		        "recursion.forward[0]: found 'dns.example', expected an address" },
		{ "recursion: {forward: ['9.9.9.9#']}\n", "expected the server's TLS name" },
		{ "listen: [127.0.0.1@53, 10.0.0.1, 127.0.0.1]\n",
		        "listen[2]: found '127.0.0.1' a second time, expected once: usher.yaml:1" },
		{ "recursion: {forward: [\"9.9.9.9#a\\nb\"]}\n", "expected the server's TLS name" },
		{ "profiles: [{name: pupils, networks: [10.20.1.0/16]}]\n",
		        "profiles[0].networks[0]: found '10.20.1.0/16', expected 10.20.0.0/16: bits are set "
		        "behind" },
		{ "serve: ['fd00::1/64']\n", "serve[0]: found 'fd00::1/64', expected fd00::/64" },
		{ "serve: ['fd00::/129']\n", "expected a network" },
		{ "serve: [10.0.0.0/]\n", "expected a network" },
	};

	ALL_BAD(mistakes);
}

static void unknown_word_is_answered_with_those_that_are_known(void **state)
{
	static const struct mistake mistakes[] = {
		{ "profiles: [{name: pupils, block: [[adult]]}]\n",
		        "profiles[0].block[0]: found a list, expected a category" },
		{ "profiles: [{name: pupils, block: [{adult: 1}]}]\n",
		        "profiles[0].block[0]: found a map, expected a category" },
		{ "profiles: [{name: pupils, block: [gamblin]}]\n",
		        "profiles[0].block[0]: found 'gamblin', expected a category: did you mean "
		        "'gambling'?" },
		{ "profiles: [{name: pupils, block: [nonsense-word]}]\n",
		        "found 'nonsense-word', expected a category: illegal, " },
		{ "lists: {sources: [{name: a, url: 'file:///a', category: nope}]}\n",
		        "lists.sources[0].category: found 'nope', expected a category" },
		{ "lists: {sources: [{name: a, url: 'file:///a', format: ut1, map: {x: nope}}]}\n",
		        "lists.sources[0].map.x: found 'nope', expected a category" },
		{ "dns: {lookalikes: maybe}\n",
		        "dns.lookalikes: found 'maybe', expected one of off, watch, block" },
		{ "profiles: [{name: pupils, watch: [nope]}]\n",
		        "profiles[0].watch[0]: found 'nope', expected a category" },
		{ "keywords: [{match: xx, category: nope}]\n",
		        "keywords[0].category: found 'nope', expected a category" },
		{ "periods: {lunch: {from: \"12:10\", to: \"13:00\"}}\nprofiles: [{name: pupils, periods: "
		  "{lunchh: {block: [ads]}}}]\n",
		        "profiles[0].periods.lunchh: found 'lunchh', expected a period: did you mean "
		        "'lunch'?" },
		{ "profiles: [{name: pupils, periods: {break: {}}}]\n",
		        "expected a period, of which there is none" },
		{ "profiles: [{name: pupils, youtube: very}]\n",
		        "profiles[0].youtube: found 'very', expected one of off, moderate, strict" },
		{ "profiles: [{name: pupils, block-answer: gone}]\n",
		        "block-answer: found 'gone', expected one of nxdomain, nodata, null, refused" },
		{ "profiles: [{name: staff}, {name: guests}]\n",
		        "usher.yaml: default-profile: found nothing, expected a profile: staff, guests" },
		{ "default-profile: pupil\n", "usher.yaml:1: default-profile: found 'pupil', expected a "
		                              "profile: did you mean 'pupils'?" },
		{ "access: {it: {profiles: [pupils], fields: some}}\n",
		        "access.it.fields: found 'some', expected one of full, counts" },
		{ "access: {dsl: {profiles: [teachers]}}\n",
		        "access.dsl.profiles[0]: found 'teachers', expected a profile" },
		{ "categories: [{name: x, title: X, severity: high}]\n",
		        "severity: found 'high', expected one of advisory, caution, danger" },
	};

	ALL_BAD(mistakes);
}

static void profile_or_category_without_its_parts_is_named(void **state)
{
	static const struct mistake mistakes[] = {
		{ "profiles: [{name: pupils, block-names: [bbc.example/games/x.html]}]\n",
		        "expected a domain name" },
		{ "profiles:\n  - name: pupils\n    networks:\n      - 10.20.0.0/33\n",
		        "usher.yaml:4: profiles[0].networks[0]: found '10.20.0.0/33', expected a network "
		        "such as" },
		{ "profiles: [{name: pupils, block: adult}]\n", "expected a list of categories" },
		{ "profiles: [{name: pupils, block-answer: [10.0.0]}]\n",
		        "block-answer[0]: found '10.0.0', expected an address" },
		{ "profiles: [{name: pupils, block-answer: []}]\n", "or a list of addresses" },
		{ "profiles: [{name: pupils, block-names: ['*.x.example']}]\n",
		        "what is below it is meant too" },
		{ "profiles: [{name: pupils, block-names: ['https://x.example/']}]\n",
		        "expected a domain name" },
		{ "profiles: [{name: pupils, block-names: [a..b]}]\n", "expected a domain name" },
		{ "profiles: [{name: pupils, block-names: ['.']}]\n", "expected a domain name" },
		{ "profiles: [{name: 'a b'}]\n",
		        "profiles[0].name: found 'a b', expected a name of at most 63" },
		{ "profiles: [{networks: [10.0.0.0/8]}]\n", "profiles[0].name: found nothing" },
		{ "profiles: [pupils]\n", "profiles[0]: found 'pupils', expected a map such as {name: ...}" },
		{ "profiles:\n  - name: pupils\n  - name: pupils\n",
		        "usher.yaml:3: profiles[1].name: found 'pupils', expected another: usher.yaml:2 has "
		        "it already" },
		{ "safe-search: [{engine: x, names: [www.x.example]}]\n",
		        "safe-search[0]: found neither, expected a target or addresses" },
		{ "categories: [{name: x, title: X}]\n", "categories[0].severity: found nothing" },
		{ "categories: [{name: x, title: \"a\\nb\", severity: danger}]\n",
		        "expected text of one line" },
	};

	ALL_BAD(mistakes);
}

static void period_or_holiday_that_is_no_time_is_named(void **state)
{
	static const struct mistake mistakes[] = {
		{ "periods: {lunch: {from: \"12:10\", to: \"13:00\"}}\nprofiles: [{name: pupils, periods: "
		  "{lunch: {unblock: [nope]}}}]\n",
		        "usher.yaml:2: profiles[0].periods.lunch.unblock[0]: found 'nope', expected a "
		        "category" },
		{ "periods: {a: {days: monday, from: \"12:10\", to: \"13:00\"}}\n",
		        "periods.a.days: found 'monday', expected days such as" },
		{ "periods: {a: {from: \"12:60\", to: \"13:00\"}}\n",
		        "periods.a.from: found '12:60', expected a time from \"00:00\" to \"23:59\"" },
		{ "periods: {a: {from: \"24:00\", to: \"24:01\"}}\n",
		        "periods.a.to: found '24:01', expected a time from \"00:00\" to \"24:00\"" },
		{ "periods: {a: {from: \"12:00\"}}\n", "periods.a.to: found nothing" },
		{ "terms: {holidays: [2026-02-30]}\n",
		        "terms.holidays[0]: found '2026-02-30', expected a date" },
	};

	ALL_BAD(mistakes);
}

static void record_or_zone_that_is_none_is_named(void **state)
{
	static const struct mistake mistakes[] = {
		{ "local-records: ['intranet 300 IN A 10.0.0.300']\n",
		        "local-records[0]: found 'intranet 300 IN A 10.0.0.300', expected a zone-file line" },
		{ "local-records: ['@ 300 IN A 10.0.0.3']\n", "expected a zone-file line" },
		{ "local-records: ['']\n", "expected a zone-file line" },
		{ "local-records: ['a.example. CH A 10.0.0.1']\n", "expected a zone-file line" },
		{ "local-records: ['a.example. A']\n", "expected a zone-file line" },
		{ "local-records: ['a.example. CNAME b.example.', 'a.example. A 10.0.0.1']\n",
		        "local-records[0]: found a CNAME" },
		{ "internal-zones: [{zone: ad.example, servers: []}]\n",
		        "internal-zones[0].servers: found 0, expected at least 1" },
		{ "internal-zones: [{zone: ad.example, servers: [10.0.0.1]}, {zone: AD.example, servers: "
		  "[10.0.0.2]}]\n",
		        "internal-zones[1].zone: found a second time" },
	};

	ALL_BAD(mistakes);
}

static void keyword_secret_or_measure_of_no_such_form_is_named(void **state)
{
	static const struct mistake mistakes[] = {
		{ "dns: {nsid: \"a\\u2028b\"}\n", "dns.nsid: found 'a" },
		{ "dns: {cookie-secrets: [00112233445566778899aabbccddeeff, "
		  "00112233445566778899aabbccddeef]}\n",
		        "dns.cookie-secrets[1]: found something else, expected 32 hexadecimal digits" },
		{ "dns: {cookie-secrets: [\"00112233445566778899aabbccddeefg\"]}\n",
		        "dns.cookie-secrets[0]: found something else, expected 32 hexadecimal digits" },
		{ "keywords: [{match: x, category: adult}]\n",
		        "keywords[0].match: found 'x', expected a word of 2 to 40 letters and digits" },
		{ "keywords: [{match: \"a*b\", category: adult}]\n",
		        "keywords[0].match: found 'a*b', expected a word" },
		{ "keywords: [{match: \"**\", category: adult}]\n",
		        "keywords[0].match: found '**', expected a word" },
		{ "keywords: [{match: \"two words\", category: adult}]\n",
		        "keywords[0].match: found 'two words', expected a word" },
		{ "dns: {tunnelling: {entropy: 3,5}}\n", "dns.tunnelling" },
		{ "dns: {tunnelling: {entropy: \"0x3\"}}\n",
		        "dns.tunnelling.entropy: found '0x3', expected a number from 2 to 6 such as 3.5" },
		{ "dns: {tunnelling: {entropy: 1.5.5}}\n",
		        "dns.tunnelling.entropy: found '1.5.5', expected" },
		{ "dns: {tunnelling: {entropy: 6.01}}\n", "dns.tunnelling.entropy: found '6.01', expected" },
		{ "dns: {tunnelling: {names: 5}}\n",
		        "dns.tunnelling.names: found '5', expected a number from 20 to 400" },
	};

	ALL_BAD(mistakes);
}

static void source_that_cannot_be_fetched_or_read_is_named(void **state)
{
	static const struct mistake mistakes[] = {
		{ "lists: {sources: [{name: a, url: 'file:///a'}]}\n",
		        "lists.sources[0]: found neither category nor map, expected category" },
		{ "lists: {sources: [{name: a, url: 'file:///a', format: hosts, category: ads, map: {x: "
		  "ads}}]}\n",
		        "expected with format ut1" },
		{ "lists: {sources: [{name: a, url: 'ftp://a/b', category: ads}]}\n",
		        "expected a URL that begins with https://" },
		{ "lists: {sources: [{name: a, category: ads}]}\n",
		        "usher.yaml:1: lists.sources[0].url: found nothing, expected where" },
		{ "lists: {sources: [{name: a, url: 'file:///a', category: ads}, {name: a, url: 'file:///b', "
		  "category: ads}]}\n",
		        "lists.sources[1].name: found 'a', expected another: usher.yaml:1 has it already" },
		{ "lists: {sources: [{name: starter, url: 'file:///a', category: ads}]}\n",
		        "it is the shipped list's" },
		{ "lists: {sources: [{name: a, url: 'file:///a', format: zip, category: ads}]}\n",
		        "format: found 'zip', expected one of auto, ut1, hosts" },
		{ "lists: {sources: [{name: a, url: 'file:///a', category: ads, sha256: abc}]}\n",
		        "expected 64 hexadecimal digits" },
		{ "lists: {sources: [{name: a, url: 'file:///a', category: ads, key: RWabc}]}\n",
		        "lists.sources[0].key: found 'RWabc', expected a public key of minisign" },
		{ "lists: {sources: [{name: a, url: 'axfr://ns.example', category: ads}]}\n",
		        "usher.yaml:1: lists.sources[0].url: found 'axfr://ns.example', expected "
		        "axfr://HOST[@PORT]/ZONE" },
		{ "lists: {sources: [{name: a, url: 'axfr://ns.example@0/z', category: ads}]}\n",
		        "usher.yaml:1: lists.sources[0].url: found" },
		{ "lists: {sources: [{name: a, url: 'axfr://ns.example/z', format: hosts, category: ads}]}\n",
		        "lists.sources[0].format: found hosts, expected rpz for a url axfr://" },
		{ "lists: {sources: [{name: a, url: 'file:///a', category: ads, tsig: {name: k, secret: "
		  "'aGk='}}]}\n",
		        "lists.sources[0].tsig: found one, expected it with a url axfr:// alone" },
		{ "lists: {sources: [{name: a, url: 'axfr://ns.example/z', category: ads, tsig: {name: "
		  "k}}]}\n",
		        "lists.sources[0].tsig: found a name alone, expected both name and secret" },
		{ "lists: {sources: [{name: a, url: 'axfr://ns.example/z', category: ads, tsig: {name: k, "
		  "secret: '%%'}}]}\n",
		        "lists.sources[0].tsig.secret: found what is no base64, expected a secret" },
		{ "lists: {sources: [{name: a, url: 'axfr://ns.example/z', category: ads, tsig: {name: k, "
		  "algorithm: md5, secret: 'aGk='}}]}\n",
		        "lists.sources[0].tsig.algorithm: found 'md5', expected" },
		{ "lists: {sources: [{name: a, url: 'file:///a', category: ads, signature: a.minisig}]}\n",
		        "signature: found 'a.minisig', expected a URL" },
		{ "lists: {proxy: 'proxy.school.example:3128'}\n",
		        "lists.proxy: found what is no such URL, expected http://[user:password@]host:port" },
		{ "lists: {proxy: 'ftp://boss:geheim@proxy.school.example'}\n", "found what is no such URL" },
		{ "lists: {proxy: 'http://boss:geheim@'}\n", "found what is no such URL" },
		{ "lists: {proxy: 'http://boss:geheim@proxy.school.example/path'}\n",
		        "found what is no such URL" },
		{ "lists: {ca-file: ca.pem}\n", "lists.ca-file: found 'ca.pem', expected an absolute path" },
		{ "lists: {timeout: 15}\n", "lists.timeout: found '15', expected a duration" },
		{ "lists: {max-size: 0}\n", "lists.max-size: found '0', expected" },
	};

	ALL_BAD(mistakes);
}

static void two_profiles_with_one_network_are_both_named(void **state)
{
	bad("profiles:\n  - name: pupils\n    networks: [10.20.0.0/16]\n  - name: staff\n    networks:\n     "
	    " - 10.30.0.0/16\n      - 10.20.0.0/16\n",
	        "usher.yaml:7: profiles[1].networks[1]: found '10.20.0.0/16' for 'staff', expected a network "
	        "of its own: usher.yaml:3 gives it to 'pupils'");
	/* A host without a length, and IPv4 in IPv6 form, are the same network. */
	bad("profiles: [{name: pupils, networks: [10.1.1.1, 10.1.1.1/32]}]\n",
	        "expected a network of its own");
	bad("profiles: [{name: pupils, networks: [10.1.1.1]}, {name: b, networks: "
	    "['::ffff:10.1.1.1/128']}]\n",
	        "expected a network of its own");
	/* A network within another is not. */
	config_free(good("profiles: [{name: pupils, networks: [10.20.0.0/16]}, {name: b, networks: "
	                 "[10.20.0.0/17]}]\n"));
}

static char *many_categories(unsigned count)
{
	char *text;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	fputs("categories:\n- {name: illegal, title: I, severity: danger, sealed: true}\n"
	      "- {name: terrorism, title: T, severity: danger, sealed: true}\n",
	        to);
	for (unsigned i = 2; i < count; i++)
		fprintf(to, "- {name: c%u, title: C, severity: advisory}\n", i);
	fclose(to);
	return text;
}

static void categories_are_at_most_64(void **state)
{
	char *text = many_categories(64);
	struct config *config = good(text);

	assert_int_equal(config->category_count, 64);
	assert_int_equal(config->sealed, 3);
	config_free(config);
	free(text);
	text = many_categories(65);
	bad(text, "usher.yaml:1: categories: found 65, expected at most 64");
	free(text);
}

static void sealed_categories_cannot_be_unsealed(void **state)
{
	bad("categories:\n- {name: illegal, title: I, severity: danger}\n",
	        "usher.yaml:2: categories[0].sealed: found 'illegal' without it, expected sealed: true");
	bad("categories:\n- {name: x, title: X, severity: danger}\n- {name: terrorism, title: T, severity: "
	    "danger, sealed: false}\n",
	        "usher.yaml:3: categories[1].sealed");
	bad("periods: {lunch: {from: \"12:10\", to: \"13:00\"}}\nprofiles: [{name: pupils, periods: {lunch: "
	    "{unblock: [illegal]}}}]\n",
	        "profiles[0].periods.lunch.unblock: found 'illegal', expected categories that are not "
	        "sealed");
	/* Left out, they come back. */
	struct config *config = good("categories: [{name: x, title: X, severity: danger}]\n");
	assert_int_equal(config->category_count, 3);
	assert_int_equal(config->sealed, 6);
	assert_int_equal(config->danger, 7);
	config_free(config);
	config = good("categories:\n");
	assert_true(config->category_count > 30);
	config_free(config);
}

static void several_mistakes_are_told_together(void **state)
{
	bad("workers: many\ncache: {size: 1}\nprofiles: [{name: pupils, youtube: x}]\n",
	        "usher.yaml:1: workers:");
	assert_non_null(strstr(why, "\nusher.yaml:2: cache.size:"));
	assert_non_null(strstr(why, "\nusher.yaml:3: profiles[0].youtube:"));
}

static void more_mistakes_than_room_are_counted(void **state)
{
	char *text;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	for (unsigned i = 0; i < 1000; i++)
		fprintf(to, "unknown-key-number-%u: 1\n", i);
	fclose(to);
	bad(text, "usher.yaml:1: top level: found the unknown key 'unknown-key-number-0'");
	assert_true(strlen(why) < CONFIG_WHY_MAX);
	const char *last = strrchr(why, '\n');
	assert_non_null(strstr(last, "\nand 9"));
	assert_non_null(strstr(last, " more"));
	free(text);
}

/* ---- YAML ---- */

static void tabs_are_called_tabs(void **state)
{
	bad("cache:\n\tsize: 64MiB\n", "usher.yaml:2: YAML: found a tab, expected spaces");
	bad("cache:\n  size: 64MiB\n\tmax-ttl: 1h\n", "usher.yaml:3: YAML: found a tab, expected spaces");
	bad("profiles:\n  -\tname: pupils\n\t  block: [ads]\n", "found a tab");
}

static void yaml_that_is_none_is_refused_with_its_line(void **state)
{
	bad("listen: [127.0.0.1@53\nworkers: 1\n",
	        "usher.yaml:2: YAML: found 'workers: 1', expected valid YAML");
	bad("workers: 1\n  x: 2\n", "usher.yaml:2: YAML:");
	bad("- a\n- b\n", "usher.yaml:1: YAML: found a list, expected keys such as 'listen:'");
	bad("just words", "found 'just words', expected keys");
	bad("workers: 1\n---\nworkers: 2\n", "usher.yaml:2: YAML: found a second document");
	bad("\"unterminated", "usher.yaml:1: YAML:");
	bad("? [a, b]\n: c\n", "found a list as a key");
	bad("workers: \"1\\0\"\n", "character of value 0");
	bad("a: &x [1]\nb: *x\n", "usher.yaml:2: YAML: found the alias '*x'");
	bad("a: &x [*x]\n", "found the alias");
	bad("a: *nowhere\n", "usher.yaml:1: YAML:");
}

static void binary_junk_is_refused(void **state)
{
	static const char junk[] = "\x7f"
	                           "ELF\x02\x01\x01\0\0\0\xff\xfe";
	static const char latin1[] = "workers: 1\nprofiles: [{name: caf\xe9}]\n";
	struct config *config;

	assert_int_equal(config_parse(&config, junk, sizeof junk, "usher.yaml", why), -EINVAL);
	assert_non_null(strstr(why, "usher.yaml:1: YAML: found an octet that is no text"));
	assert_int_equal(config_parse(&config, latin1, sizeof latin1 - 1, "usher.yaml", why), -EINVAL);
	assert_non_null(strstr(why, "usher.yaml:2: YAML: found an octet that is no text"));
	assert_int_equal(config_parse(&config, "\xff\xfe\x61\0", 4, "usher.yaml", why), -EINVAL);
	assert_int_equal(config_parse(&config, "\0\0\0\0", 4, "usher.yaml", why), -EINVAL);
}

static void alias_bombs_do_not_grow(void **state)
{
	bad("a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, "
	    "*b, *b, *b, *b, *b]\n"
	    "d: &d [*c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, "
	    "*e, *e, *e, *e, *e]\n",
	        "aliases are not read");
}

static void depth_is_bounded(void **state)
{
	char text[60001];

	memset(text, '[', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	bad(text, "usher.yaml:1: YAML: found more than 16 levels");
	bad("a: [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]\n", "found more than 16 levels");
}

static void found_text_has_no_control_characters(void **state)
{
	bad("workers: \"\\e[31m\\x9b1m\\u202e\"\n", "usher.yaml:1: workers: found '?[31m?1m");
	assert_null(strchr(why, 0x1b));
	bad("\"evil\\e\\nkey\": 1\n", "found the unknown key 'evil??key'");
}

/* ---- includes ---- */

static void included_files_are_merged(void **state)
{
	struct folder folder = folder_make();
	struct config *config;

	folder_file(&folder, "a.yaml",
	        "lists:\n  max-shrink: 50%\n  sources: [{name: a, url: 'file:///a', category: "
	        "ads}]\nprofiles: [{name: staff}]\n");
	folder_file(&folder, "b.yaml",
	        "lists: {sources: [{name: b, url: 'file:///b', category: ads}]}\nperiods: {b: {from: "
	        "\"1:00\", to: \"2:00\"}}\n");
	const char *file = folder_file(&folder, "main.yaml",
	        "include: [a.yaml, b.yaml]\nlists: {starter: false, sources: [{name: main, url: 'file:///m', "
	        "category: ads}]}\n"
	        "profiles: [{name: pupils}]\nperiods: {a: {from: \"1:00\", to: \"2:00\"}}\n");
	if (config_read(&config, file, why) < 0)
		fail_msg("%s", why);
	assert_int_equal(config->source_count, 3);
	assert_string_equal(config->sources[0].name, "main");
	assert_string_equal(config->sources[2].name, "b");
	assert_int_equal(config->max_shrink_percent, 50);
	assert_false(config->starter);
	assert_int_equal(config->profile_count, 2);
	assert_int_equal(config->period_count, 2);
	assert_string_equal(config->file, file);
	config_free(config);
	folder_remove(&folder);
}

static void a_bad_include_names_both_places(void **state)
{
	struct folder folder = folder_make();
	static const struct {
		const char *main, *other, *problem;
	} cases[] = {
		{ "workers: 1\ninclude: [a.yaml]\n", "# two\nworkers: 2\n",
		        "/a.yaml:2: workers: found a second time, expected once: " },
		{ "cache: {size: 1MiB}\ninclude: [a.yaml]\n", "cache: {size: 2MiB}\n",
		        "/a.yaml:1: cache.size: found a second time, expected once: " },
		{ "periods: {x: {from: \"1:00\", to: \"2:00\"}}\ninclude: [a.yaml]\n",
		        "periods: {x: {days: daily}}\n", "/a.yaml:1: periods.x: found a second time" },
		{ "profiles: [{name: pupils}]\ninclude: [a.yaml]\n", "profiles:\n  - name: pupils\n",
		        "/a.yaml:2: profiles[1].name: found 'pupils', expected another: " },
		{ "include: [a.yaml]\n", "include: [main.yaml]\n",
		        "/a.yaml:1: include: found in an included file, expected in the main file only (" },
		{ "include: [main.yaml]\n", "", "/main.yaml:1: include: found in an included file" },
		{ "\n\ninclude: [nowhere.yaml]\n", "",
		        "/main.yaml:3: include[0]: found 'nowhere.yaml', expected a file that can be "
		        "read: " },
		{ "include: [.]\n", "", "include[0]: found '.', expected a file that can be read: " },
		{ "include: a.yaml\n", "", "include: found 'a.yaml', expected a list" },
		{ "include: [[a.yaml]]\n", "", "include[0]: found a list, expected a file name" },
		{ "include: [a.yaml]\n", "cache:\n  size: 7\n", "/a.yaml:2: cache.size: found '7'" },
		{ "include: [a.yaml]\n", "cache:\n\tsize: 7\n", "/a.yaml:2: YAML: found a tab" },
		{ "include: [a.yaml]\ncache: []\n", "cache: {size: 1MiB}\n",
		        "/a.yaml:1: cache: found a second time" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct config *config;
		folder_file(&folder, "a.yaml", cases[i].other);
		const char *file = folder_file(&folder, "main.yaml", cases[i].main);
		assert_int_equal(config_read(&config, file, why), -EINVAL);
		if (strstr(why, cases[i].problem) == NULL)
			fail_msg("found\n%s\nexpected\n%s", why, cases[i].problem);
	}
	folder_remove(&folder);
}

static void a_missing_file_is_told(void **state)
{
	struct config *config;

	assert_int_equal(config_read(&config, "no/such/usher.yaml", why), -ENOENT);
	assert_string_equal(why, "no/such/usher.yaml: No such file or directory");
	assert_int_equal(config_read(&config, "/", why), -EISDIR);
}

/* ---- warnings ---- */

static void what_is_not_in_effect_is_warned_of(void **state)
{
	struct config *config = good(every_key);

	assert_false(has_warning(config, "keywords"));
	assert_false(has_warning(config, "alerts"));
	assert_false(has_warning(config, "leases"));
	assert_false(has_warning(config, "terms.holidays"));
	config_free(config);
	config = good("keywords: []\nalerts: {mail-to: [], webhook: \"\", rules: []}\nleases: []\nterms: "
	              "{holidays: []}\n");
	assert_false(has_warning(config, "not in effect"));
	config_free(config);
}

struct warning {
	const char *text, *warning;
	bool is_given;
};

static void all_warn(const struct warning *warnings, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct config *config = good(warnings[i].text);
		if (has_warning(config, warnings[i].warning) != warnings[i].is_given)
			fail_msg("%s: %s %s", warnings[i].text,
			        warnings[i].is_given ? "does not warn of" : "warns of", warnings[i].warning);
		config_free(config);
	}
}

#define ALL_WARN(warnings) all_warn(warnings, sizeof warnings / sizeof *warnings)

static void odd_but_possible_is_warned_of(void **state)
{
	static const struct warning warnings[] = {
		{ "profiles:\n  - name: pupils\n    networks: [192.0.2.0/24]\n",
		        "usher.yaml:3: profiles[0].networks[0]: 192.0.2.0/24 is not in serve", true },
		{ "serve: [\"::/0\"]\nprofiles: [{name: pupils, networks: [\"::/0\"]}]\n",
		        "::/0 takes in all IPv4 clients too", true },
		{ "recursion: {forward: [127.0.0.1@5353]}\n",
		        "recursion.forward: 127.0.0.1@5353 is this machine", true },
		{ "recursion: {forward: [127.0.0.1@5353], allow-loopback: true}\nlists: {sources: [{name: a, "
		  "url: 'file:///a', category: ads}]}\n",
		        "", false },
		{ "lists: {starter: false}\n", "no category filters anything", true },
	};

	ALL_WARN(warnings);
}

static void a_profile_that_blocks_nothing_is_warned_of(void **state)
{
	static const struct warning warnings[] = {
		{ "default-profile: a\nprofiles:\n  - {name: a}\n",
		        "usher.yaml:3: profiles[0].block: 'a' blocks no category but the sealed ones", true },
		{ "default-profile: a\nprofiles: [{name: a, block: []}]\n", "'a' blocks no category", true },
		{ "default-profile: a\nprofiles: [{name: a, block: [games]}]\n", "blocks no category",
		        false },
		{ "default-profile: a\nprofiles: [{name: a, default: block}]\n", "blocks no category",
		        false },
		{ "", "blocks no category", false },
	};

	ALL_WARN(warnings);
}

static void no_engine_leaves_searches_unsafe_and_is_warned_of(void **state)
{
	static const struct warning warnings[] = {
		{ "safe-search: []\n",
		        "usher.yaml:1: safe-search: there is no engine, so profile 'pupils' gets all of them "
		        "unsafe",
		        true },
		{ "safe-search: []\ndefault-profile: a\nprofiles: [{name: a, block: [games], safe-search: "
		  "false}]\n",
		        "there is no engine", false },
		{ "safe-search:\n", "there is no engine", false },
	};

	ALL_WARN(warnings);
}

static void no_canary_lets_browsers_around_and_is_warned_of(void **state)
{
	static const struct warning warnings[] = {
		{ "canaries: []\n", "usher.yaml:1: canaries: there is none", true },
		{ "canaries:\n", "canaries: there is none", false },
	};

	ALL_WARN(warnings);
}

static void fewer_categories_empty_the_starter_list_and_are_warned_of(void **state)
{
	static const char few[] = "serve: [10.0.0.0/8]\n"
	                          "categories: [{name: adult, title: A, severity: caution}, {name: games, "
	                          "title: G, severity: advisory}]\n";
	static const struct warning warnings[] = {
		{ few,
		        "usher.yaml:2: categories: the starter list's names filter nothing of gambling, "
		        "social, chat, dating, bypass",
		        true },
		{ few, "nothing of adult", false },
		{ few,
		        "usher.yaml:2: categories: the built-in profile does not block gambling, drugs, "
		        "hate, self-harm",
		        true },
		{ "lists: {starter: false}\ncategories: [{name: adult, title: A, severity: caution}]\n"
		  "default-profile: a\nprofiles: [{name: a, block: [adult]}]\n",
		        "no such category", false },
		{ "", "no such category", false },
		{ "categories:\n", "no such category", false },
	};

	ALL_WARN(warnings);
}

/* ---- values ---- */

static void a_period_of_no_length_is_not_the_whole_day(void **state)
{
	static const struct mistake mistakes[] = {
		{ "periods:\n  x: {from: \"12:00\", to: \"12:00\"}\n",
		        "usher.yaml:2: periods.x.to: found '12:00', which is `from` too, expected a later "
		        "time" },
		{ "periods: {x: {from: \"00:00\", to: \"00:00\"}}\n", "to \"24:00\" for the whole day" },
	};

	ALL_BAD(mistakes);
	config_free(good("periods: {all: {from: \"00:00\", to: \"24:00\"}, night: {from: \"22:00\", to: "
	                 "\"06:00\"}}\n"));
}

static void what_is_left_empty_is_not_taken_for_none(void **state)
{
	static const struct mistake mistakes[] = {
		{ "default-profile: a\nprofiles:\n  - name: a\n    block:\n",
		        "usher.yaml:4: profiles[0].block: found nothing, expected a list of categories" },
		{ "periods: {x: {from: \"12:00\", to: \"13:00\"}}\ndefault-profile: a\nprofiles: [{name: a, "
		  "block: [games], periods: {x: {block: }}}]\n",
		        "profiles[0].periods.x.block: found nothing" },
		{ "workers: 1\ncategories: []\n",
		        "usher.yaml:2: categories: found none, expected at least one" },
	};

	ALL_BAD(mistakes);
}

static void a_whole_registry_is_not_let_through(void **state)
{
	(void)state;
	static const char *const everybody[] = { "com", "co.uk", "COM.", "org", "org.uk", "de", "com.au",
		"ck" };
	static const char *const own[] = { "local", "lan", "internal", "corp", "10.in-addr.arpa",
		"in-addr.arpa", "0.0.d.f.ip6.arpa", "home.arpa", "school.example", "github.io", "nhs.uk",
		"police.uk", "kent.sch.uk", "example.com" };
	char text[200];

	for (size_t i = 0; i < sizeof everybody / sizeof *everybody; i++) {
		snprintf(text, sizeof text, "internal-zones:\n- {zone: %s, servers: [10.0.0.1]}\n",
		        everybody[i]);
		bad(text, "usher.yaml:2: internal-zones[0].zone: found '");
		snprintf(text, sizeof text, "protected-names: [%s]\n", everybody[i]);
		bad(text, "usher.yaml:1: protected-names[0]: found '");
		snprintf(text, sizeof text, "default-profile: a\nprofiles:\n- {name: a, allow-names: [%s]}\n",
		        everybody[i]);
		bad(text, "usher.yaml:3: profiles[0].allow-names[0]: found '");
		assert_non_null(strstr(why, "expected a name below it"));
		snprintf(text, sizeof text, "default-profile: a\nprofiles: [{name: a, block-names: [%s]}]\n",
		        everybody[i]);
		config_free(good(text));
	}
	for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
		snprintf(text, sizeof text,
		        "internal-zones: [{zone: %s, servers: [10.0.0.1]}]\nprotected-names: [%s]\n", own[i],
		        own[i]);
		config_free(good(text));
	}
}

static void durations_need_a_unit(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms; /* 0: it is none */
	} cases[] = { { "30s", 30000 }, { "500ms", 500 }, { "90d", UINT64_C(90) * 86400000 }, { "", 0 },
		{ "30", 0 }, { "s", 0 }, { "30 s", 0 }, { "-1s", 0 }, { "1.5h", 0 }, { "30S", 0 },
		{ "1h30m", 0 }, { "18446744073709551615d", 0 } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t ms = 0;
		assert_int_equal(config_duration_parse(cases[i].text, &ms), cases[i].ms > 0 ? 0 : -EINVAL);
		if (cases[i].ms > 0)
			assert_int_equal(ms, cases[i].ms);
	}
}

static void networks_are_in_one_space(void **state)
{
	struct config_network network;
	char text[INET6_ADDRSTRLEN + 4];
	static const char *const pairs[][2] = { { "10.20.0.0/16", "10.20.0.0/16" },
		{ "10.1.2.3", "10.1.2.3/32" }, { "0.0.0.0/0", "0.0.0.0/0" },
		{ "2001:db8::/32", "2001:db8::/32" }, { "::1", "::1/128" },
		{ "::ffff:10.0.0.0/104", "10.0.0.0/8" }, { "::/0", "::/0" } };
	static const char *const wrong[] = { "", "/8", "10.0.0.0/33", "10.0.0/8", "10.0.0.1/8", "::/129", "x",
		"10.0.0.0/8/8", "10.0.0.0/+8", "010.0.0.0/8", "10.0.0.0 /8" };

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		assert_int_equal(config_network_parse(&network, pairs[i][0]), 0);
		config_network_text(&network, text);
		assert_string_equal(text, pairs[i][1]);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_int_equal(config_network_parse(&network, wrong[i]), -EINVAL);
	assert_int_equal(config_network_parse(&network, "10.20.0.0/16"), 0);
	assert_int_equal(network.length, 112);
	assert_int_equal(network.address[10], 0xff);
}

static void *drop_references(void *arg)
{
	for (unsigned i = 0; i < 10000; i++)
		config_free(config_ref(arg));
	return NULL;
}

static void references_are_counted_across_threads(void **state)
{
	struct config *config = good("");
	pthread_t threads[4];

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(threads + i, NULL, drop_references, config), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_string_equal(config->user, "usher");
	config_free(config);
	config_free(NULL);
}

/* ---- the table, the shipped files and the manual page ---- */

static char *source_file(const char *name)
{
	char path[1024];
	char *text;
	size_t len;
	const char *root = getenv("USHER_TESTS");

	if (root == NULL)
		skip();
	snprintf(path, sizeof path, "%s/../conf/%s", root, name);
	FILE *from = fopen(path, "r");
	if (from == NULL)
		fail_msg("no %s", path);
	FILE *to = open_memstream(&text, &len);
	for (int c; (c = fgetc(from)) != EOF;)
		fputc(c, to);
	fclose(from);
	fclose(to);
	return text;
}

static bool is_named(const char *key, const char *const *texts, const char *const *forms)
{
	char word[80];

	for (; *forms != NULL; forms++)
		for (size_t i = 0; texts[i] != NULL; i++) {
			snprintf(word, sizeof word, "%s%s%s", *forms, key, forms[0][1] == '.' ? "\n" : ":");
			if (strstr(texts[i], word) != NULL)
				return true;
		}
	return false;
}

/* Every key of the table stands in a text in one of these forms. */
static void all_named(const struct config_option *options, const char *const *texts, const char *const *forms)
{
	for (; options->key != NULL; options++) {
		if (options->key[0] != '*' && options->key[0] != '.' && !is_named(options->key, texts, forms))
			fail_msg("'%s' is not named", options->key);
		if (options->fields != NULL)
			all_named(options->fields, texts, forms);
	}
}

static void sample_configuration_names_every_key(void **state)
{
	static const char *const names[] = { "usher.yaml", "categories.yaml", "safe-search.yaml",
		"canaries.yaml", "background.yaml", "protected-names.yaml", "sources.yaml", "keywords.yaml",
		"well-known.yaml", "guest-wifi.yaml" };
	char *texts[11] = { NULL };

	for (size_t i = 0; i < 10; i++)
		texts[i] = source_file(names[i]);
	all_named(config_options, (const char *const *)texts, (const char *const[]){ "\n", " ", "{", NULL });
	for (size_t i = 0; i < 10; i++)
		free(texts[i]);
}

static void manual_page_names_every_key(void **state)
{
	char *texts[2] = { source_file("usher.yaml.5"), NULL };

	all_named(config_options, (const char *const *)texts, (const char *const[]){ "\n.It ", NULL });
	free(texts[0]);
}

static void sample_configuration_is_valid(void **state)
{
	char path[1024];
	struct config *config;
	const char *root = getenv("USHER_TESTS");

	if (root == NULL)
		skip();
	snprintf(path, sizeof path, "%s/../conf/usher.yaml", root);
	if (config_read(&config, path, why) < 0)
		fail_msg("%s", why);
	for (size_t i = 0; i < config->warning_count; i++)
		fail_msg("%s", config->warnings[i]);
	assert_true(config_profile(config, "pupils") >= 0 && config_profile(config, "staff") >= 0 &&
	            config_profile(config, "guest") >= 0);
	assert_string_equal(config->sources[0].name, "ut1");
	config_free(config);
}

static void built_in_files_are_those_of_conf(void **state)
{
	for (const struct builtin_file *file = builtin_files; file->name != NULL; file++) {
		assert_ptr_equal(builtin_file(file->name), file);
		assert_int_equal(strlen(file->text), file->len);
	}
	assert_non_null(builtin_file("categories.yaml"));
	assert_non_null(builtin_file("usher.yaml"));
	assert_null(builtin_file("nothing.yaml"));
}

static void all_documented(const struct config_option *options)
{
	for (; options->key != NULL; options++) {
		assert_non_null(options->doc);
		if (options->fields != NULL)
			all_documented(options->fields);
	}
}

static void every_key_says_what_it_is_for(void **state)
{
	all_documented(config_options);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_read),
		cmocka_unit_test(file_with_mistakes_still_tells_where_usherd_is),
		cmocka_unit_test(devices_are_known_by_leases_or_their_own_addresses),
		cmocka_unit_test(keywords_are_as_people_read_them),
		cmocka_unit_test(records_are_in_wire_form),
		cmocka_unit_test(idn_becomes_a_labels),
		cmocka_unit_test(empty_file_is_all_defaults),
		cmocka_unit_test(addresses_have_a_default_port),
		cmocka_unit_test(ten_lines_have_the_built_in_files),
		cmocka_unit_test(without_profiles_there_are_pupils),
		cmocka_unit_test(classless_reverse_zones_are_names),
		cmocka_unit_test(protected_names_are_added_to_the_shipped),
		cmocka_unit_test(a_given_key_replaces_the_built_in),
		cmocka_unit_test(engines_have_their_targets),
		cmocka_unit_test(printing_reads_back_to_the_same),
		cmocka_unit_test(printing_names_no_user_that_no_file_names),
		cmocka_unit_test(child_needs_no_file_of_blocked_networks),
		cmocka_unit_test(the_recursor_gets_what_it_needs),
		cmocka_unit_test(unknown_or_second_key_is_named),
		cmocka_unit_test(value_of_another_kind_or_size_is_named),
		cmocka_unit_test(address_or_network_that_is_none_is_named),
		cmocka_unit_test(unknown_word_is_answered_with_those_that_are_known),
		cmocka_unit_test(profile_or_category_without_its_parts_is_named),
		cmocka_unit_test(period_or_holiday_that_is_no_time_is_named),
		cmocka_unit_test(record_or_zone_that_is_none_is_named),
		cmocka_unit_test(keyword_secret_or_measure_of_no_such_form_is_named),
		cmocka_unit_test(source_that_cannot_be_fetched_or_read_is_named),
		cmocka_unit_test(two_profiles_with_one_network_are_both_named),
		cmocka_unit_test(categories_are_at_most_64),
		cmocka_unit_test(sealed_categories_cannot_be_unsealed),
		cmocka_unit_test(several_mistakes_are_told_together),
		cmocka_unit_test(more_mistakes_than_room_are_counted),
		cmocka_unit_test(tabs_are_called_tabs),
		cmocka_unit_test(yaml_that_is_none_is_refused_with_its_line),
		cmocka_unit_test(binary_junk_is_refused),
		cmocka_unit_test(alias_bombs_do_not_grow),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(found_text_has_no_control_characters),
		cmocka_unit_test(included_files_are_merged),
		cmocka_unit_test(a_bad_include_names_both_places),
		cmocka_unit_test(a_missing_file_is_told),
		cmocka_unit_test(what_is_not_in_effect_is_warned_of),
		cmocka_unit_test(odd_but_possible_is_warned_of),
		cmocka_unit_test(a_period_of_no_length_is_not_the_whole_day),
		cmocka_unit_test(what_is_left_empty_is_not_taken_for_none),
		cmocka_unit_test(a_profile_that_blocks_nothing_is_warned_of),
		cmocka_unit_test(no_engine_leaves_searches_unsafe_and_is_warned_of),
		cmocka_unit_test(no_canary_lets_browsers_around_and_is_warned_of),
		cmocka_unit_test(fewer_categories_empty_the_starter_list_and_are_warned_of),
		cmocka_unit_test(a_whole_registry_is_not_let_through),
		cmocka_unit_test(durations_need_a_unit),
		cmocka_unit_test(networks_are_in_one_space),
		cmocka_unit_test(references_are_counted_across_threads),
		cmocka_unit_test(sample_configuration_names_every_key),
		cmocka_unit_test(manual_page_names_every_key),
		cmocka_unit_test(sample_configuration_is_valid),
		cmocka_unit_test(built_in_files_are_those_of_conf),
		cmocka_unit_test(every_key_says_what_it_is_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
