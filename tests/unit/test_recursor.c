/*
 * The recursor for real: keeper, process, sandbox and libunbound, asked through recursion.c, with an NSD on
 * loopback as the whole DNS (a forwarder that knows a signed root and some zones below). Skipped where nsd or
 * ldns-signzone is not installed.
 */
#include "resolver/recursor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "resolver/keeper.h"
#include "resolver/recursion.h"
#include "resolver/sandbox.h"
#include "resolver/stats.h"

#define DEADLINE_MS 5000

/* Makes the zones in $1 for an NSD at port $2: each broken in its own way, as its name says. */
/* clang-format off */
static const char zones_make[] =
	"set -e; cd \"$1\"\n"
	"apex() { printf '$ORIGIN %s\\n$TTL 60\\n@ SOA ns.unsigned. admin.unsigned. 1 3600 900 86400 60\\n' $1\n"
	"	printf '@ NS ns.unsigned.\\n'; cat; }\n"
	"sign() { zone=$1; origin=$2; shift 2; key=$(ldns-keygen -a ECDSAP256SHA256 -k $origin)\n"
	"	ldns-signzone \"$@\" -o $origin -f $zone.served $zone.zone $key; cp $key.ds $zone.ds; }\n"
	"x=$(printf '%0255d' 0)\n"
	"for z in signed bogus expired future stripped keyless; do\n"
	"	printf 'www A 192.0.2.1\\nalias CNAME www\\nodd\\\\.dot\\\\032x A 192.0.2.9\\nbig TXT %s\\n' \"$x $x $x $x $x $x\" |\n"
	"		apex $z. > $z.zone\n"
	"done\n"
	"sign signed signed.; sign bogus bogus.; sign stripped stripped.; sign keyless keyless.\n"
	"sign expired expired. -i 20200101 -e 20200201; sign future future. -i 20400101 -e 20450101\n"
	"sed -i 's/192\\.0\\.2\\.1$/192.0.2.66/' bogus.served\n"
	"sed -i '/RRSIG.A /d' stripped.served\n"
	"sed -i '/DNSKEY/d' keyless.served\n"
	"printf 'ns A 127.0.0.1\\nwww A 192.0.2.2\\nto CNAME www.signed.\\n' | apex unsigned. > unsigned.served\n"
	"printf '4.3 PTR pc.adc.\\n' | apex 20.10.in-addr.arpa. > reverse.served\n"
	"printf 'pc A 10.20.3.4\\n' | apex adc. > adc.served\n"
	"{ for z in *.ds; do echo \"${z%.ds}. NS ns.unsigned.\"; cat $z; done; echo 'unsigned. NS ns.unsigned.'; } |\n"
	"	apex . > root.zone\n"
	"sign root .; grep DNSKEY root.served | grep -v RRSIG > anchor\n"
	"{ printf 'server:\\n ip-address: 127.0.0.1@%s\\n zonesdir: \"%s\"\\n' $2 \"$1\"\n"
	"printf ' database: \"\"\\n rrl-ratelimit: 0\\n username: \"\"\\n chroot: \"\"\\n xfrdir: \"%s\"\\n' \"$1\"\n"
	"for f in pidfile xfrdfile zonelistfile logfile; do printf ' %s: \"%s/nsd.%s\"\\n' $f \"$1\" $f; done\n"
	"printf 'remote-control:\\n control-enable: no\\n'\n"
	"for f in *.served; do\n"
	"	case $f in root.*) z=. ;; reverse.*) z=20.10.in-addr.arpa. ;; *) z=${f%.served}. ;; esac\n"
	"	printf 'zone:\\n name: \"%s\"\\n zonefile: \"%s\"\\n' $z $f\n"
	"done; } > nsd.conf\n";
/* clang-format on */

static struct lab {
	char dir[64];
	int port;
	pid_t nsd;
	bool runs;
} lab;

/* One who asks, waits and tells. */
struct asked {
	struct recursion_waiter waiter;
	struct event_base *base;
	bool told;
	struct recursion_result result;
	char why[256];
	uint8_t wire[4096];
};

struct daemon {
	struct event_base *base;
	struct keeper *keeper;
	struct recursion *recursion;
	struct stats stats;
	struct slots slots;
	unsigned started;
};

/* ---- the laboratory ---- */

static int port_pick(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof any;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	bind(fd, (struct sockaddr *)&any, sizeof any);
	getsockname(fd, (struct sockaddr *)&any, &len);
	close(fd);
	return ntohs(any.sin_port);
}

static bool is_answered(int port)
{
	static const uint8_t query[] = { 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, TYPE_SOA, 0, CLASS_IN };
	uint8_t reply[512];
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)port) };
	struct timeval patience = { 0, 100000 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	connect(fd, (struct sockaddr *)&to, sizeof to);
	bool answered = send(fd, query, sizeof query, 0) > 0 && recv(fd, reply, sizeof reply, 0) > 0;
	close(fd);
	if (!answered)
		usleep(20000);
	return answered;
}

static int run(const char *const *argv)
{
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 1);
		dup2(null, 2);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return status;
}

static int lab_start(void **state)
{
	char port[12], conf[96];
	snprintf(lab.dir, sizeof lab.dir, "%s/usher-recursor-XXXXXX",
	        getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (access("/usr/sbin/nsd", X_OK) < 0 || access("/usr/bin/ldns-signzone", X_OK) < 0 ||
	        !mkdtemp(lab.dir))
		return 0;
	chmod(lab.dir, 0755); /* the recursor of another uid reads its anchor here */
	lab.port = port_pick();
	snprintf(port, sizeof port, "%d", lab.port);
	snprintf(conf, sizeof conf, "%s/nsd.conf", lab.dir);
	const char *make[] = { "/bin/sh", "-c", zones_make, "sh", lab.dir, port, NULL };
	if (run(make) != 0)
		return -1;
	lab.nsd = fork();
	if (lab.nsd == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		execl("/usr/sbin/nsd", "nsd", "-d", "-c", conf, NULL);
		_exit(127);
	}
	for (int i = 0; i < 100 && !lab.runs; i++)
		lab.runs = is_answered(lab.port);
	return lab.runs ? 0 : -1;
}

static int lab_stop(void **state)
{
	if (lab.nsd > 0) {
		kill(lab.nsd, SIGTERM);
		waitpid(lab.nsd, NULL, 0);
	}
	const char *clean[] = { "/bin/rm", "-r", lab.dir, NULL };
	return lab.runs ? run(clean) : 0;
}

/* ---- the daemon's side ---- */

static void recursor_started(void *arg, const int *fds, unsigned count)
{
	struct daemon *daemon = arg;
	daemon->started++;
	recursion_connect(daemon->recursion, fds[0]);
}

static void recursor_ended(void *arg)
{
	recursion_connect(((struct daemon *)arg)->recursion, -1);
}

static struct config *config_of(const char *text)
{
	struct config *config;
	char why[CONFIG_WHY_MAX] = "";
	int ret = config_parse(&config, text, strlen(text), "test", why);
	if (ret < 0)
		print_error("%s\n", why);
	assert_int_equal(ret, 0);
	return config;
}

/* As usherd does it: the recursor reads what config_print_recursion() wrote. */
static void recursor_give(struct daemon *daemon, const char *yaml)
{
	char *text = NULL;
	size_t len;
	struct config *config = config_of(yaml);
	FILE *to = open_memstream(&text, &len);
	config_print_recursion(config, to);
	fclose(to);
	assert_int_equal(keeper_recursor(daemon->keeper, text, len), 0);
	free(text);
	config_free(config);
	unsigned before = daemon->started;
	while (daemon->started == before)
		event_base_loop(daemon->base, EVLOOP_ONCE);
}

static void daemon_start(struct daemon *daemon, const char *yaml, unsigned deadline_ms)
{
	struct keeper_options options = {
		.program = "/proc/self/exe", .workers = 1, .recursor_uid = (uid_t)-1, .reader_uid = (uid_t)-1
	};
	*daemon = (struct daemon){ .base = event_base_new(), .slots.most = 1000 };
	struct keeper_events events = { recursor_started, recursor_ended, daemon, NULL };
	assert_int_equal(keeper_start(&daemon->keeper, &options), 0);
	assert_int_equal(keeper_attach(daemon->keeper, daemon->base, &events), 0);
	daemon->recursion =
	        recursion_new(daemon->base, &daemon->slots, deadline_ms, &daemon->stats, NULL, NULL);
	recursor_give(daemon, yaml);
}

static void daemon_stop(struct daemon *daemon)
{
	keeper_stop(daemon->keeper);
	recursion_free(daemon->recursion);
	event_base_free(daemon->base);
}

static void answered(struct recursion_waiter *waiter, const struct recursion_result *result)
{
	struct asked *asked = (struct asked *)waiter;
	asked->told = true;
	asked->result = *result;
	snprintf(asked->why, sizeof asked->why, "%s", result->why);
	if (result->wire_len > 0 && result->wire_len <= sizeof asked->wire)
		memcpy(asked->wire, result->wire, result->wire_len);
	event_base_loopbreak(asked->base);
}

static void ask(struct daemon *daemon, struct asked *asked, const char *name, uint16_t type, bool cd)
{
	struct recursion_question question = { .type = type, .checking_disabled = cd };
	assert_int_equal(name_from_text(&question.name, name, strlen(name)), 0);
	*asked = (struct asked){ .waiter.answered = answered, .base = daemon->base };
	assert_int_equal(recursion_ask(daemon->recursion, &question, &asked->waiter, NULL), 0);
	while (!asked->told)
		event_base_dispatch(daemon->base);
}

static void expect(
        const struct asked *asked, enum recursion_status status, bool secure, int rcode, unsigned answers)
{
	assert_int_equal(asked->result.status, status);
	assert_int_equal(asked->result.secure, secure);
	assert_true(asked->result.wire_len >= MESSAGE_HEADER_LEN);
	assert_int_equal(asked->wire[3] & 15, rcode);
	assert_int_equal(wire_read16(asked->wire + 6), answers);
}

static const char *yaml(const char *more)
{
	static char text[1024];
	snprintf(text, sizeof text,
	        "recursion: {forward: [127.0.0.1@%d], allow-loopback: true, trust-anchor: '%s/anchor'}\n%s",
	        lab.port, lab.dir, more);
	return text;
}

/* cmocka's skip() is a failure to readers of TAP, so a test that cannot be made says so and passes. */
static bool lab_is_there(void)
{
	if (!lab.runs)
		print_message("# skipped: nsd and ldns-signzone are not installed\n");
	return lab.runs;
}

/* ---- truths ---- */

static void signed_names_are_secure_whatever_the_answer(void **state)
{
	if (!lab_is_there())
		return;
	struct daemon daemon;
	struct asked asked;
	daemon_start(&daemon, yaml(""), DEADLINE_MS);
	ask(&daemon, &asked, "www.signed", TYPE_A, false);
	expect(&asked, RECURSION_ANSWERED, true, RCODE_NOERROR, 2); /* A and its RRSIG: DO is always set */
	ask(&daemon, &asked, "alias.signed", TYPE_A, false);
	expect(&asked, RECURSION_ANSWERED, true, RCODE_NOERROR, 4);
	ask(&daemon, &asked, "nothing.signed", TYPE_A, false);
	expect(&asked, RECURSION_ANSWERED, true, RCODE_NXDOMAIN, 0);
	ask(&daemon, &asked, "www.signed", TYPE_AAAA, false);
	expect(&asked, RECURSION_ANSWERED, true, RCODE_NOERROR, 0);
	ask(&daemon, &asked, ".", TYPE_NS, false);
	expect(&asked, RECURSION_ANSWERED, true, RCODE_NOERROR, 2);
	daemon_stop(&daemon);
}

static void big_answers_come_over_tcp(void **state)
{
	if (!lab_is_there())
		return;
	struct daemon daemon;
	struct asked asked;
	daemon_start(&daemon, yaml(""), DEADLINE_MS);
	ask(&daemon, &asked, "big.signed", TYPE_TXT, false);
	expect(&asked, RECURSION_ANSWERED, true, RCODE_NOERROR, 2);
	assert_true(asked.result.wire_len > 6 * 255);
	daemon_stop(&daemon);
}

static void odd_octets_in_names_arrive_as_asked(void **state)
{
	if (!lab_is_there())
		return;
	struct daemon daemon;
	struct asked asked;
	daemon_start(&daemon, yaml(""), DEADLINE_MS);
	ask(&daemon, &asked, "odd\\.dot\\032x.signed", TYPE_A, false);
	expect(&asked, RECURSION_ANSWERED, true, RCODE_NOERROR, 2);
	ask(&daemon, &asked, "odd.dot\\032x.signed", TYPE_A, false);
	expect(&asked, RECURSION_ANSWERED, true, RCODE_NXDOMAIN, 0);
	ask(&daemon, &asked, "\\000\\255\\092\\034.signed", TYPE_A, false);
	expect(&asked, RECURSION_ANSWERED, true, RCODE_NXDOMAIN, 0);
	daemon_stop(&daemon);
}

static void unsigned_names_resolve_and_are_not_secure(void **state)
{
	if (!lab_is_there())
		return;
	struct daemon daemon;
	struct asked asked;
	daemon_start(&daemon, yaml(""), DEADLINE_MS);
	ask(&daemon, &asked, "www.unsigned", TYPE_A, false);
	expect(&asked, RECURSION_ANSWERED, false, RCODE_NOERROR, 1);
	ask(&daemon, &asked, "to.unsigned", TYPE_A, false);
	expect(&asked, RECURSION_ANSWERED, false, RCODE_NOERROR, 3);
	daemon_stop(&daemon);
}

static void bogus_names_fail_and_say_how(void **state)
{
	if (!lab_is_there())
		return;
	static const struct {
		const char *name;
		int ede;
	} cases[] = {
		{ "www.bogus", EDE_BOGUS },
		{ "www.expired", EDE_SIGNATURE_EXPIRED },
		{ "www.future", EDE_SIGNATURE_NOT_YET_VALID },
		{ "www.keyless", EDE_DNSKEY_MISSING },
		{ "www.stripped", EDE_RRSIGS_MISSING },
	};
	struct daemon daemon;
	struct asked asked;
	daemon_start(&daemon, yaml(""), DEADLINE_MS);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (int again = 0; again < 2; again++) { /* the second from libunbound's cache */
			ask(&daemon, &asked, cases[i].name, TYPE_A, false);
			assert_int_equal(asked.result.status, RECURSION_BOGUS);
			assert_int_equal(asked.result.ede, cases[i].ede);
			assert_null(asked.result.wire);
			assert_true(asked.why[0] != '\0');
			assert_null(strstr(asked.why, "www.")); /* nobody's question */
		}
	daemon_stop(&daemon);
}

static void bogus_data_is_delivered_when_checking_is_disabled(void **state)
{
	if (!lab_is_there())
		return;
	struct daemon daemon;
	struct asked asked;
	daemon_start(&daemon, yaml(""), DEADLINE_MS);
	for (int again = 0; again < 2; again++) {
		ask(&daemon, &asked, "www.bogus", TYPE_A, true);
		expect(&asked, RECURSION_BOGUS, false, RCODE_NOERROR, 2);
		ask(&daemon, &asked, "www.bogus", TYPE_A, false);
		assert_null(asked.result.wire);
	}
	daemon_stop(&daemon);
}

static void without_dnssec_nothing_is_secure_and_nothing_bogus(void **state)
{
	if (!lab_is_there())
		return;
	char text[256];
	struct daemon daemon;
	struct asked asked;
	snprintf(text, sizeof text,
	        "recursion: {forward: [127.0.0.1@%d], allow-loopback: true, dnssec: false}\n", lab.port);
	daemon_start(&daemon, text, DEADLINE_MS);
	ask(&daemon, &asked, "www.signed", TYPE_A, false);
	expect(&asked, RECURSION_ANSWERED, false, RCODE_NOERROR, 2);
	ask(&daemon, &asked, "www.bogus", TYPE_A, false);
	expect(&asked, RECURSION_ANSWERED, false, RCODE_NOERROR, 2);
	daemon_stop(&daemon);
}

static void private_reverse_names_stay_here_unless_a_zone_is_the_schools(void **state)
{
	if (!lab_is_there())
		return;
	char zones[512];
	struct daemon daemon;
	struct asked asked;
	snprintf(zones, sizeof zones,
	        "internal-zones:\n"
	        "  - {zone: 20.10.in-addr.arpa, servers: [127.0.0.1@%d]}\n"
	        "  - {zone: adc, servers: [127.0.0.1@%d]}\n",
	        lab.port, lab.port);
	daemon_start(&daemon, yaml(zones), DEADLINE_MS);
	ask(&daemon, &asked, "4.3.20.10.in-addr.arpa", TYPE_PTR, false);
	expect(&asked, RECURSION_ANSWERED, false, RCODE_NOERROR, 1);
	ask(&daemon, &asked, "ac", TYPE_A, false); /* its NSEC covers "adc" too */
	expect(&asked, RECURSION_ANSWERED, true, RCODE_NXDOMAIN, 0);
	ask(&daemon, &asked, "pc.adc", TYPE_A, false); /* the signed root denies "adc": domain-insecure */
	expect(&asked, RECURSION_ANSWERED, false, RCODE_NOERROR, 1);
	ask(&daemon, &asked, "no.adc", TYPE_A, false);
	expect(&asked, RECURSION_ANSWERED, false, RCODE_NXDOMAIN, 0);
	ask(&daemon, &asked, "4.3.21.10.in-addr.arpa", TYPE_PTR, false);
	expect(&asked, RECURSION_ANSWERED, false, RCODE_NXDOMAIN,
	        0); /* the root's own NXDOMAIN would be secure */
	daemon_stop(&daemon);
}

static void process_status(pid_t pid, const char *key, char value[64])
{
	char path[64], line[256];
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	FILE *file = fopen(path, "r");
	value[0] = '\0';
	while (file && fgets(line, sizeof line, file))
		if (!strncmp(line, key, strlen(key)))
			snprintf(value, 64, "%.*s", (int)strcspn(line + strlen(key), "\n"),
			        line + strlen(key));
	if (file)
		fclose(file);
}

static void recursor_is_caged_and_known_by_its_name(void **state)
{
	if (!lab_is_there())
		return;
	struct daemon daemon;
	struct asked asked;
	char value[64];
	daemon_start(&daemon, yaml(""), DEADLINE_MS);
	ask(&daemon, &asked, "www.signed", TYPE_A, false);
	pid_t pid = keeper_recursor_pid(daemon.keeper);
	process_status(pid, "Name:\t", value);
	assert_string_equal(value, "usherd:recursor");
	process_status(pid, "NoNewPrivs:\t", value);
	assert_string_equal(value, "1");
	if (sandbox_is_real()) {
		process_status(pid, "Seccomp:\t", value);
		assert_string_equal(value, "2");
		process_status(pid, "CapPrm:\t", value);
		assert_string_equal(value, "0000000000000000");
	}
	daemon_stop(&daemon);
}

static void killed_recursor_is_replaced_under_a_waiting_question(void **state)
{
	if (!lab_is_there())
		return;
	struct daemon daemon;
	struct asked asked;
	daemon_start(&daemon, yaml(""), DEADLINE_MS);
	for (int i = 0; i < 3; i++) {
		struct timespec from, to;
		clock_gettime(CLOCK_MONOTONIC, &from);
		kill(keeper_recursor_pid(daemon.keeper), SIGKILL);
		ask(&daemon, &asked, "www.signed", TYPE_A, false);
		clock_gettime(CLOCK_MONOTONIC, &to);
		expect(&asked, RECURSION_ANSWERED, true, RCODE_NOERROR, 2);
		assert_true(to.tv_sec - from.tv_sec + (to.tv_nsec - from.tv_nsec) / 1e9 < 1.5);
	}
	daemon_stop(&daemon);
}

static void new_configuration_takes_effect_and_the_old_recursor_ends(void **state)
{
	if (!lab_is_there())
		return;
	char text[256];
	struct daemon daemon;
	struct asked asked;
	daemon_start(&daemon, yaml(""), DEADLINE_MS);
	pid_t old = keeper_recursor_pid(daemon.keeper);
	snprintf(text, sizeof text,
	        "recursion: {forward: [127.0.0.1@%d], allow-loopback: true, dnssec: false}\n", lab.port);
	recursor_give(&daemon, text);
	ask(&daemon, &asked, "www.bogus", TYPE_A, false);
	assert_int_equal(asked.result.status, RECURSION_ANSWERED);
	for (int i = 0; i < 200 && kill(old, 0) == 0; i++)
		usleep(10000);
	assert_int_equal(kill(old, 0), -1);
	daemon_stop(&daemon);
}

/* A socket that takes questions and never answers. */
static int silent_server(int *port)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof any;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
	getsockname(fd, (struct sockaddr *)&any, &len);
	*port = ntohs(any.sin_port);
	return fd;
}

/* The recursor still works on them when the worker has given up. */
static void questions_given_up_take_no_place_from_new_ones_until_they_are_four_times_too_many(void **state)
{
	char text[256];
	int port, fd = silent_server(&port);
	struct daemon daemon;
	struct asked asked;
	snprintf(text, sizeof text,
	        "recursion: {forward: [127.0.0.1@%d], allow-loopback: true, dnssec: false}\nlimits: "
	        "{in-flight: 1}\n",
	        port);
	daemon_start(&daemon, text, 300);
	for (int i = 0; i < 4; i++) {
		char name[32];
		snprintf(name, sizeof name, "n%d.example", i);
		ask(&daemon, &asked, name, TYPE_A, false);
		assert_int_equal(asked.result.status, RECURSION_TIMEOUT);
	}
	ask(&daemon, &asked, "n4.example", TYPE_A, false);
	assert_int_equal(asked.result.status, RECURSION_BUSY);
	daemon_stop(&daemon);
	close(fd);
}

/* A process that answers every question with an rcode. */
static pid_t answer_with(int fd, uint8_t rcode)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		uint8_t message[4096];
		struct sockaddr_storage peer;
		socklen_t peer_len = sizeof peer;
		ssize_t got = recvfrom(fd, message, sizeof message, 0, (struct sockaddr *)&peer, &peer_len);
		if (got < MESSAGE_HEADER_LEN)
			continue;
		message[2] |= 0x80;
		message[3] = rcode;
		sendto(fd, message, (size_t)got, 0, (struct sockaddr *)&peer, peer_len);
	}
}

static void servers_that_fail_give_a_failure_soon(void **state)
{
	static const uint8_t rcodes[] = { RCODE_SERVFAIL, RCODE_REFUSED };
	char text[256];
	int port, fd = silent_server(&port);
	snprintf(text, sizeof text,
	        "recursion: {forward: [127.0.0.1@%d], allow-loopback: true, dnssec: false}\n", port);
	for (size_t i = 0; i < sizeof rcodes; i++) {
		struct daemon daemon;
		struct asked asked;
		pid_t server = answer_with(fd, rcodes[i]);
		daemon_start(&daemon, text, DEADLINE_MS);
		ask(&daemon, &asked, "www.example", TYPE_A, false);
		assert_int_equal(asked.result.status, RECURSION_FAILED);
		assert_int_equal(asked.result.ede, EDE_NO_REACHABLE_AUTHORITY);
		assert_null(asked.result.wire);
		daemon_stop(&daemon);
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	close(fd);
}

struct many {
	struct recursion_waiter waiter;
	enum recursion_status status;
	unsigned *told;
};

static void one_of_many_answered(struct recursion_waiter *waiter, const struct recursion_result *result)
{
	struct many *one = (struct many *)waiter;
	one->status = result->status;
	++*one->told;
}

static void turn(struct daemon *daemon, int times)
{
	for (int i = 0; i < times; i++) {
		event_base_loop(daemon->base, EVLOOP_NONBLOCK);
		usleep(1000);
	}
}

/* More than the socket between them holds, and none of them may cost a client its five seconds. */
static void answers_wait_for_a_worker_that_stood_still(void **state)
{
	enum { MANY = 2000 };
	static struct many many[MANY];
	unsigned told = 0;
	char text[256], name[32];
	int port, fd = silent_server(&port), room = 4 << 20;
	struct daemon daemon;
	snprintf(text, sizeof text,
	        "recursion: {forward: [127.0.0.1@%d], allow-loopback: true, dnssec: false}\n", port);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
	pid_t server = answer_with(fd, RCODE_NXDOMAIN);
	kill(server, SIGSTOP);
	daemon_start(&daemon, text, DEADLINE_MS);
	daemon.slots.most = MANY;
	for (int i = 0; i < MANY; i++) {
		struct recursion_question question = { .type = TYPE_A };
		snprintf(name, sizeof name, "n%d.example", i);
		name_from_text(&question.name, name, strlen(name));
		many[i] = (struct many){
			.waiter.answered = one_of_many_answered, .status = RECURSION_BUSY, .told = &told
		};
		assert_int_equal(recursion_ask(daemon.recursion, &question, &many[i].waiter, NULL), 0);
		if (i % 100 == 0)
			turn(&daemon, 1);
	}
	turn(&daemon, 100);
	kill(server, SIGCONT);
	usleep(600000);
	for (int i = 0; i < 6000 && told < MANY; i++)
		turn(&daemon, 1);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(many[i].status, RECURSION_ANSWERED);
	daemon_stop(&daemon);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	close(fd);
}

static void check(const char *text, const char *expected)
{
	struct config *config = config_of(text);
	char why[RECURSOR_WHY_MAX] = "";
	int ret = recursor_check(config, why);
	config_free(config);
	assert_int_equal(ret == 0, expected == NULL);
	if (expected && !strstr(why, expected))
		print_error("said: %s\n", why);
	assert_true(!expected || strstr(why, expected));
}

static void mistakes_are_told_before_anything_starts(void **state)
{
	check("recursion: {dnssec: false, forward: [192.0.2.1]}\n", NULL);
	check("recursion: {dnssec: false, forward: [192.0.2.1, '2001:db8::1@5353']}\n", NULL);
	check("recursion: {dnssec: false, forward: [127.0.0.2@53]}\n",
	        "recursion.forward: found '127.0.0.2@53', expected a server elsewhere: one on this machine "
	        "needs "
	        "recursion.allow-loopback: true");
	check("recursion: {dnssec: false, forward: ['::1@53']}\n", "allow-loopback");
	check("internal-zones: [{zone: ad.example, servers: [127.0.0.1]}]\n", "allow-loopback");
	check("recursion: {trust-anchor: /nonexistent/root.key}\n", "/nonexistent/root.key");
	check("recursion: {dnssec: false, root-hints: /nonexistent/root.hints}\n", "/nonexistent/root.hints");
	check("recursion: {dnssec: false, forward: [192.0.2.1, '192.0.2.2@853#dns.example']}\n",
	        "recursion.forward: found '192.0.2.1', expected a #tls-name behind it");
	check("recursion: {dnssec: false, forward: ['192.0.2.2@853#dns.example']}\n",
	        upstream_has_tls() ? NULL : "built without");
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--recursor"))
		recursor_main(argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signed_names_are_secure_whatever_the_answer),
		cmocka_unit_test(big_answers_come_over_tcp),
		cmocka_unit_test(odd_octets_in_names_arrive_as_asked),
		cmocka_unit_test(unsigned_names_resolve_and_are_not_secure),
		cmocka_unit_test(bogus_names_fail_and_say_how),
		cmocka_unit_test(bogus_data_is_delivered_when_checking_is_disabled),
		cmocka_unit_test(without_dnssec_nothing_is_secure_and_nothing_bogus),
		cmocka_unit_test(private_reverse_names_stay_here_unless_a_zone_is_the_schools),
		cmocka_unit_test(recursor_is_caged_and_known_by_its_name),
		cmocka_unit_test(killed_recursor_is_replaced_under_a_waiting_question),
		cmocka_unit_test(new_configuration_takes_effect_and_the_old_recursor_ends),
		cmocka_unit_test(
		        questions_given_up_take_no_place_from_new_ones_until_they_are_four_times_too_many),
		cmocka_unit_test(servers_that_fail_give_a_failure_soon),
		cmocka_unit_test(answers_wait_for_a_worker_that_stood_still),
		cmocka_unit_test(mistakes_are_told_before_anything_starts),
	};
	return cmocka_run_group_tests(tests, lab_start, lab_stop);
}
