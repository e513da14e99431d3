/* Who had an address when: devices.c and device_find.c, and lease_watch.c over them. */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "resolver/lease_watch.h"

#define DAY 86400
#define HOUR 3600
#define TODAY (INT64_C(20000) * DAY) /* a midnight */
#define KEEP (90 * DAY)

static char dir[64], file[96];

static int setup(void **state)
{
	snprintf(dir, sizeof dir, "/tmp/usher-devices-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof file, "%s.leases", dir);
	return 0;
}

static int teardown(void **state)
{
	char command[200];

	snprintf(command, sizeof command, "rm -rf %s %s*", dir, file);
	return system(command);
}

static struct lease lease_of(const char *address, char device, int64_t start_s, int64_t end_s)
{
	struct lease lease = { .has_mac = true, .start_s = start_s, .end_s = end_s };

	lease.address[10] = lease.address[11] = 0xff;
	assert_int_equal(inet_pton(AF_INET, address, lease.address + 12), 1);
	memset(lease.mac, device, 6);
	snprintf(lease.name, sizeof lease.name, "device-%c", device);
	return lease;
}

static void note(struct devices *devices, const char *address, char device, int64_t start_s, int64_t end_s,
        int64_t now_s)
{
	struct lease lease = lease_of(address, device, start_s, end_s);

	assert_int_equal(devices_note(devices, DEVICE_FROM_LEASE, &lease, now_s, KEEP), 0);
}

/* "lease device-a", "-" for nobody. */
static const char *who(struct devices *devices, const char *address, int64_t time_s)
{
	static char text[128];
	struct lease lease = lease_of(address, 'x', 0, 0);
	struct device device;

	devices_find(devices, lease.address, time_s * 1000000 + 5, &device);
	if (device.confidence == DEVICE_UNKNOWN)
		return "-";
	snprintf(text, sizeof text, "%s %s", device_confidence_text(device.confidence),
	        device.name[0] != '\0' ? device.name : device.mac);
	return text;
}

/* The same from what another process reads. */
static const char *read_who(const char *address, int64_t time_s)
{
	struct devices *devices = devices_new(dir);
	const char *text = who(devices, address, time_s);

	devices_free(devices);
	return text;
}

/* What is said of an address at a moment. */
struct moment {
	const char *address;
	int64_t time_s;
	const char *who;
};

static void all_are(struct devices *devices, const struct moment *moments, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *found = who(devices, moments[i].address, moments[i].time_s);
		if (strcmp(found, moments[i].who) != 0)
			fail_msg("%s at %lld: found %s, expected %s", moments[i].address,
			        (long long)(moments[i].time_s - TODAY), found, moments[i].who);
	}
}

#define ALL_ARE(devices, moments) all_are(devices, moments, sizeof moments / sizeof *moments)

static unsigned files(void)
{
	DIR *folder = opendir(dir);
	unsigned count = 0;

	for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(folder);
	return count;
}

static off_t size_of_day(int64_t day_s)
{
	char path[128];
	time_t s = day_s;
	struct tm tm;
	struct stat st;
	size_t len = (size_t)snprintf(path, sizeof path, "%s/", dir);

	strftime(path + len, sizeof path - len, "%Y-%m-%d", gmtime_r(&s, &tm));
	return stat(path, &st) == 0 ? st.st_size : 0;
}

static void address_is_its_device_of_the_moment(void **state)
{
	static const struct moment moments[] = {
		{ "10.0.0.7", TODAY + 8 * HOUR - 1, "-" },
		{ "10.0.0.7", TODAY + 8 * HOUR, "lease device-a" },
		{ "10.0.0.7", TODAY + 9 * HOUR, "expired device-a" },
		{ "10.0.0.7", TODAY + 10 * HOUR, "lease device-b" },
		{ "10.0.0.8", TODAY + 10 * HOUR, "lease device-c" },
		{ "10.0.0.9", TODAY + 10 * HOUR, "-" },
	};
	struct devices *devices = devices_new(dir);

	note(devices, "10.0.0.7", 'a', TODAY + 8 * HOUR, TODAY + 9 * HOUR, TODAY + 8 * HOUR);
	note(devices, "10.0.0.7", 'b', TODAY + 10 * HOUR, TODAY + 12 * HOUR, TODAY + 10 * HOUR);
	note(devices, "10.0.0.8", 'c', TODAY + 8 * HOUR, TODAY + 20 * HOUR, TODAY + 10 * HOUR);
	for (int round = 0; round < 2; round++) {
		struct devices *reader = devices_new(dir);
		ALL_ARE(reader, moments);
		devices_free(reader);
		/* A later lease does not change what was. */
		note(devices, "10.0.0.7", 'd', TODAY + 13 * HOUR, TODAY + 14 * HOUR, TODAY + 13 * HOUR);
	}
	devices_free(devices);
}

static void renewal_makes_the_record_longer_and_the_file_no_bigger(void **state)
{
	struct devices *devices = devices_new(dir);

	for (int i = 0; i < 40; i++)
		note(devices, "10.0.0.7", 'a', TODAY + i * 1800, TODAY + i * 1800 + HOUR, TODAY + i * 1800);
	assert_int_equal(size_of_day(TODAY), 16 + 104);
	assert_string_equal(read_who("10.0.0.7", TODAY + 20 * HOUR), "lease device-a");
	assert_string_equal(read_who("10.0.0.7", TODAY + 21 * HOUR), "expired device-a");
	devices_free(devices);
}

static void what_is_known_is_not_written_again_after_a_restart(void **state)
{
	for (int i = 0; i < 3; i++) {
		struct devices *devices = devices_new(dir);
		note(devices, "10.0.0.7", 'a', TODAY - 2 * HOUR, TODAY + HOUR, TODAY + i);
		note(devices, "10.0.0.7", 'b', TODAY + 2 * HOUR, TODAY + 3 * HOUR, TODAY + 2 * HOUR + i);
		devices_free(devices);
	}
	assert_int_equal(size_of_day(TODAY), 16 + 2 * 104);
	assert_int_equal(size_of_day(TODAY - DAY), 16 + 104);
	assert_string_equal(read_who("10.0.0.7", TODAY - HOUR), "lease device-a");
	assert_string_equal(read_who("10.0.0.7", TODAY + 10), "lease device-a");
}

static void lease_over_days_is_in_each_days_file_so_that_none_must_be_kept_for_it(void **state)
{
	struct devices *devices = devices_new(dir);

	for (int day = 0; day < 100; day++) {
		note(devices, "10.0.0.7", 'a', TODAY + 600, LEASE_FOREVER, TODAY + day * DAY + 700);
		devices_prune(devices, TODAY + day * DAY + 700, 10 * DAY);
	}
	assert_int_equal(files(), 11);
	assert_string_equal(read_who("10.0.0.7", TODAY + 99 * DAY + 800), "lease device-a");
	assert_string_equal(read_who("10.0.0.7", TODAY + 80 * DAY), "-");
	devices_free(devices);
}

static void given_back_address_is_nobodys(void **state)
{
	struct devices *devices = devices_new(dir);
	struct lease back = lease_of("10.0.0.7", 'a', TODAY + HOUR, TODAY + HOUR),
	             foreign = lease_of("10.0.0.7", 'z', TODAY + 1800, TODAY + 1800);

	back.ended = foreign.ended = true;
	note(devices, "10.0.0.7", 'a', TODAY, TODAY + 8 * HOUR, TODAY);
	/* Only by who has it. */
	assert_int_equal(devices_note(devices, DEVICE_FROM_LEASE, &foreign, TODAY + HOUR, KEEP), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(devices_note(devices, DEVICE_FROM_LEASE, &back, TODAY + HOUR, KEEP), 0);
	assert_int_equal(size_of_day(TODAY), 16 + 2 * 104);
	assert_string_equal(who(devices, "10.0.0.7", TODAY + HOUR - 1), "lease device-a");
	assert_string_equal(who(devices, "10.0.0.7", TODAY + HOUR + 1), "expired device-a");
	note(devices, "10.0.0.7", 'a', TODAY + 2 * HOUR, TODAY + 3 * HOUR, TODAY + 2 * HOUR);
	assert_string_equal(who(devices, "10.0.0.7", TODAY + 2 * HOUR), "lease device-a");
	devices_free(devices);
}

static void see(struct devices *devices, const char *address, char device, int64_t start_s, int64_t end_s)
{
	struct lease lease = lease_of(address, device, start_s, end_s);

	lease.name[0] = '\0';
	assert_int_equal(devices_note(devices, DEVICE_FROM_NEIGHBOUR, &lease, end_s, KEEP), 0);
}

static void kernels_word_names_addresses_without_lease_by_the_lease_of_their_mac(void **state)
{
	static const struct moment moments[] = {
		{ "10.0.0.99", TODAY + HOUR, "neighbour device-a" },
		{ "10.0.0.99", TODAY + 2 * HOUR + 100, "neighbour device-a" },
		{ "10.0.0.99", TODAY + HOUR - 200, "-" },
		{ "10.0.0.99", TODAY + 2 * HOUR + 200, "-" },
		{ "10.0.0.98", TODAY + HOUR, "neighbour 71:71:71:71:71:71" },
	};
	struct devices *devices = devices_new(dir);

	note(devices, "10.0.0.7", 'a', TODAY, TODAY + 8 * HOUR, TODAY);
	see(devices, "10.0.0.99", 'a', TODAY + HOUR, TODAY + 2 * HOUR);
	see(devices, "10.0.0.98", 'q', TODAY + HOUR, TODAY + 2 * HOUR);
	ALL_ARE(devices, moments);
	devices_free(devices);
}

static void another_device_at_a_leased_address_is_disputed(void **state)
{
	struct devices *devices = devices_new(dir);

	note(devices, "10.0.0.7", 'a', TODAY, TODAY + 8 * HOUR, TODAY);
	note(devices, "10.0.0.8", 'b', TODAY, TODAY + 8 * HOUR, TODAY);
	see(devices, "10.0.0.7", 'a', TODAY + HOUR, TODAY + 2 * HOUR);
	assert_string_equal(who(devices, "10.0.0.7", TODAY + HOUR), "lease device-a");
	/* One we know took the address. */
	see(devices, "10.0.0.7", 'b', TODAY + 3 * HOUR, TODAY + 4 * HOUR);
	assert_string_equal(who(devices, "10.0.0.7", TODAY + 3 * HOUR), "disputed device-b");
	/* A repeater answers for everybody behind it. */
	see(devices, "10.0.0.8", 'r', TODAY + HOUR, TODAY + 2 * HOUR);
	assert_string_equal(who(devices, "10.0.0.8", TODAY + HOUR), "disputed device-b");
	/* Who had it a moment before the lease began is no dispute. */
	note(devices, "10.0.0.7", 'c', TODAY + 4 * HOUR + 30, TODAY + 5 * HOUR, TODAY + 4 * HOUR + 30);
	assert_string_equal(who(devices, "10.0.0.7", TODAY + 4 * HOUR + 40), "lease device-c");
	devices_free(devices);
}

static void mac_at_many_addresses_is_nobodys_own(void **state)
{
	struct devices *devices = devices_new(dir);
	static const char *const addresses[] = { "10.0.0.91", "10.0.0.92", "10.0.0.93", "10.0.0.94" };

	for (int i = 0; i < 3; i++)
		see(devices, addresses[i], 'r', TODAY + HOUR, TODAY + 2 * HOUR);
	assert_string_equal(who(devices, addresses[0], TODAY + HOUR + 60), "neighbour 72:72:72:72:72:72");
	see(devices, addresses[3], 'r', TODAY + HOUR, TODAY + 2 * HOUR);
	assert_string_equal(who(devices, addresses[0], TODAY + HOUR + 60), "shared 72:72:72:72:72:72");
	/* one after the other they may be a device's */
	for (int i = 0; i < 4; i++)
		see(devices, addresses[i], 's', TODAY + (4 + i) * HOUR, TODAY + (4 + i) * HOUR + 60);
	assert_string_equal(who(devices, addresses[3], TODAY + 7 * HOUR), "neighbour 73:73:73:73:73:73");
	devices_free(devices);
}

static void deleted_day_is_gone_for_reader_and_writer(void **state)
{
	struct devices *devices = devices_new(dir), *reader = devices_new(dir);

	note(devices, "10.0.0.7", 'a', TODAY, TODAY + HOUR, TODAY);
	note(devices, "10.0.0.7", 'b', TODAY + 9 * DAY, TODAY + 9 * DAY + HOUR, TODAY + 9 * DAY);
	assert_string_equal(who(reader, "10.0.0.7", TODAY), "lease device-a");
	assert_int_equal(devices_prune(devices, TODAY + 8 * DAY + 10, 7 * DAY), 1);
	assert_int_equal(files(), 1);
	devices_refresh(reader);
	assert_string_equal(who(reader, "10.0.0.7", TODAY), "-");
	assert_string_equal(who(devices, "10.0.0.7", TODAY), "-");
	assert_string_equal(who(reader, "10.0.0.7", TODAY + 9 * DAY), "lease device-b");
	/* And nothing so old is taken in again. */
	note(devices, "10.0.0.7", 'a', TODAY - 200 * DAY, TODAY - 100 * DAY, TODAY);
	assert_int_equal(files(), 1);
	devices_free(devices);
	devices_free(reader);
}

static void damaged_or_cut_file_is_no_fault(void **state)
{
	struct devices *devices = devices_new(dir);
	char command[300];

	note(devices, "10.0.0.7", 'a', TODAY, TODAY + HOUR, TODAY);
	note(devices, "10.0.0.8", 'b', TODAY, TODAY + HOUR, TODAY);
	devices_free(devices);
	snprintf(command, sizeof command, "for f in %s/*; do truncate -s -50 $f; done", dir);
	assert_int_equal(system(command), 0);
	assert_string_equal(read_who("10.0.0.7", TODAY), "lease device-a");
	assert_string_equal(read_who("10.0.0.8", TODAY), "-");
	devices = devices_new(dir);
	note(devices, "10.0.0.9", 'c', TODAY, TODAY + HOUR, TODAY);
	devices_free(devices);
	assert_string_equal(read_who("10.0.0.9", TODAY), "lease device-c");
	snprintf(command, sizeof command, "for f in %s/*; do head -c 5000 /dev/urandom > $f; done", dir);
	assert_int_equal(system(command), 0);
	assert_string_equal(read_who("10.0.0.7", TODAY), "-");
	devices = devices_new(dir);
	note(devices, "10.0.0.9", 'c', TODAY, TODAY + HOUR, TODAY);
	devices_free(devices);
	assert_string_equal(read_who("10.0.0.9", TODAY), "lease device-c");
}

/* ---- following files ---- */

static unsigned told;

static void trouble(const char *sentence)
{
	told++;
}

static struct config *config_of(const char *format)
{
	static char why[CONFIG_WHY_MAX];
	char text[300];
	struct config *config;

	snprintf(text, sizeof text, "profiles: [{name: pupils}]\nleases: [{file: %s, format: %s}]\n", file,
	        format);
	if (config_parse(&config, text, strlen(text), "usher.yaml", why) < 0)
		fail_msg("%s", why);
	return config;
}

static struct lease_watch *watch_of(const char *format)
{
	struct lease_watch *watch = lease_watch_new();
	struct config *config = config_of(format);

	assert_int_equal(lease_watch_configure(watch, config), 0);
	config_free(config);
	return watch;
}

__attribute__((format(printf, 2, 3))) static void write_file(const char *mode, const char *format, ...)
{
	va_list args;
	FILE *to = fopen(file, mode);

	va_start(args, format);
	vfprintf(to, format, args);
	va_end(args);
	fclose(to);
}

#define KEA_HEAD                                                                                             \
	"address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_"    \
	"context\n"
#define KEA_ROW "10.0.0.7,61:61:61:61:61:61,,%d,%lld,1,0,0,device-a,0,\n"

static void kea_file_is_followed_as_it_grows(void **state)
{
	struct devices *devices = devices_new(dir);
	struct lease_watch *watch = watch_of("auto");

	write_file("w", KEA_HEAD KEA_ROW, HOUR, (long long)TODAY + 2 * HOUR);
	lease_watch_look(watch, devices, TODAY + HOUR, KEEP, trouble);
	assert_string_equal(who(devices, "10.0.0.7", TODAY + HOUR), "lease device-a");
	/* A row that is not whole yet */
	write_file("a", "10.0.0.8,62:62:62");
	lease_watch_look(watch, devices, TODAY + HOUR + 1, KEEP, trouble);
	write_file("a", ":62:62:62,,3600,%lld,1,0,0,device-b,0,\n" KEA_ROW, (long long)TODAY + 2 * HOUR, 0,
	        (long long)TODAY + HOUR);
	lease_watch_look(watch, devices, TODAY + HOUR + 600, KEEP, trouble);
	assert_string_equal(who(devices, "10.0.0.8", TODAY + HOUR + 600), "lease device-b");
	assert_string_equal(who(devices, "10.0.0.7", TODAY + HOUR + 599), "lease device-a");
	assert_string_equal(who(devices, "10.0.0.7", TODAY + HOUR + 600), "expired device-a");
	/* Given back and away again between two looks */
	write_file("a",
	        "10.0.0.8,62:62:62:62:62:62,,0,%lld,1,0,0,device-b,0,\n10.0.0.8,63:63:63:63:63:63,,3600,%lld,"
	        "1,0,0,device-c,0,\n",
	        (long long)TODAY + HOUR, (long long)TODAY + HOUR + 700 + 3600);
	lease_watch_look(watch, devices, TODAY + HOUR + 702, KEEP, trouble);
	assert_string_equal(who(devices, "10.0.0.8", TODAY + HOUR + 699), "lease device-b");
	assert_string_equal(who(devices, "10.0.0.8", TODAY + HOUR + 703), "lease device-c");
	assert_string_equal(lease_watch_trouble(watch), "");
	lease_watch_free(watch);
	devices_free(devices);
}

/* usherd was not there: the file says in what order things were, not all of when. */
static void kea_file_of_the_past_is_read_in_its_order(void **state)
{
	static const struct moment moments[] = {
		{ "10.0.0.7", TODAY - 5 * HOUR, "lease device-a" },
		{ "10.0.0.7", TODAY + HOUR, "expired device-a" },
		{ "10.0.0.7", TODAY + 3 * HOUR, "lease device-b" },
		{ "10.0.0.7", TODAY + 5 * HOUR, "expired device-b" },
	};
	struct devices *devices = devices_new(dir);
	struct lease_watch *watch = watch_of("kea");

	write_file("w", KEA_HEAD KEA_ROW KEA_ROW "10.0.0.7,62:62:62:62:62:62,,7200,%lld,1,0,0,device-b,0,\n",
	        12 * HOUR, (long long)TODAY + 6 * HOUR, 0, (long long)TODAY - 6 * HOUR,
	        (long long)TODAY + 4 * HOUR);
	lease_watch_look(watch, devices, TODAY + 5 * HOUR, KEEP, trouble);
	ALL_ARE(devices, moments);
	lease_watch_free(watch);
	devices_free(devices);
}

static void kea_file_that_is_cleaned_up_loses_nothing(void **state)
{
	struct devices *devices = devices_new(dir);
	struct lease_watch *watch = watch_of("kea");
	char older[120];

	write_file("w", KEA_HEAD KEA_ROW, HOUR, (long long)TODAY + HOUR);
	snprintf(older, sizeof older, "%s.1", file);
	assert_int_equal(rename(file, older), 0);
	write_file("w", KEA_HEAD);
	lease_watch_look(watch, devices, TODAY, KEEP, trouble);
	assert_string_equal(who(devices, "10.0.0.7", TODAY), "lease device-a");
	write_file("w", KEA_HEAD KEA_ROW, HOUR, (long long)TODAY + 2 * HOUR);
	lease_watch_look(watch, devices, TODAY + HOUR, KEEP, trouble);
	assert_string_equal(who(devices, "10.0.0.7", TODAY + 90 * 60), "lease device-a");
	lease_watch_free(watch);
	devices_free(devices);
}

static void dnsmasq_file_is_compared_with_what_it_said_before(void **state)
{
	struct devices *devices = devices_new(dir);
	struct lease_watch *watch = watch_of("dnsmasq");

	write_file("w", "%lld 61:61:61:61:61:61 10.0.0.7 device-a *\n", (long long)TODAY + HOUR);
	struct timespec made[2] = { { TODAY, 0 }, { TODAY, 0 } };
	utimensat(AT_FDCWD, file, made, 0);
	lease_watch_look(watch, devices, TODAY + 600, KEEP, trouble);
	assert_string_equal(who(devices, "10.0.0.7", TODAY + 60), "lease device-a");
	write_file("w",
	        "%lld 61:61:61:61:61:61 10.0.0.7 device-a *\n%lld 62:62:62:62:62:62 10.0.0.8 device-b *\n",
	        (long long)TODAY + 2 * HOUR, (long long)TODAY + 2 * HOUR);
	lease_watch_look(watch, devices, TODAY + 1800, KEEP, trouble);
	assert_string_equal(who(devices, "10.0.0.8", TODAY + 1799), "-");
	assert_string_equal(who(devices, "10.0.0.8", TODAY + 1800), "lease device-b");
	assert_string_equal(who(devices, "10.0.0.7", TODAY + 90 * 60), "lease device-a");
	write_file("w", "%lld 62:62:62:62:62:62 10.0.0.8 device-b *\n", (long long)TODAY + 2 * HOUR);
	lease_watch_look(watch, devices, TODAY + 2400, KEEP, trouble);
	assert_string_equal(who(devices, "10.0.0.7", TODAY + 2399), "lease device-a");
	assert_string_equal(who(devices, "10.0.0.7", TODAY + 2400), "expired device-a");
	lease_watch_free(watch);
	devices_free(devices);
}

static void file_that_cannot_be_read_is_told_once(void **state)
{
	struct devices *devices = devices_new(dir);
	struct lease_watch *watch = watch_of("auto");

	told = 0;
	for (int i = 0; i < 3; i++)
		lease_watch_look(watch, devices, TODAY + i, KEEP, trouble);
	assert_int_equal(told, 1);
	assert_non_null(strstr(lease_watch_trouble(watch), "No such file"));
	write_file("w", "no leases\n");
	for (int i = 0; i < 3; i++)
		lease_watch_look(watch, devices, TODAY + i, KEEP, trouble);
	assert_non_null(strstr(lease_watch_trouble(watch), "found a file of another kind"));
	write_file("w", KEA_HEAD KEA_ROW, HOUR, (long long)TODAY + HOUR);
	lease_watch_look(watch, devices, TODAY, KEEP, trouble);
	assert_string_equal(lease_watch_trouble(watch), "");
	assert_string_equal(who(devices, "10.0.0.7", TODAY), "lease device-a");
	lease_watch_free(watch);
	devices_free(devices);
}

/* ---- RADIUS accounting ---- */

/* A block of the session, of the device "a"-"z" as in lease_of(); user and address "" are left out. */
static void account(const char *name, const char *status, const char *session, const char *user, char device,
        const char *address, int64_t time_s)
{
	char path[300];

	snprintf(path, sizeof path, "%s%s", file, name);
	FILE *to = fopen(path, "a");
	fprintf(to, "Tue Oct  1 10:15:02 2024\n\tAcct-Session-Id = \"%s\"\n\tAcct-Status-Type = %s\n",
	        session, status);
	if (*user != '\0')
		fprintf(to, "\tUser-Name = \"%s\"\n", user);
	if (*address != '\0')
		fprintf(to, "\tFramed-IP-Address = %s\n", address);
	unsigned octet = (unsigned)device;
	fprintf(to, "\tCalling-Station-Id = \"%02X-%02X-%02X-%02X-%02X-%02X\"\n", octet, octet, octet, octet,
	        octet, octet);
	fprintf(to, "\tTimestamp = %lld\n\n", (long long)time_s);
	fclose(to);
}

/* As account() would, of what DHCP and the kernel say: the same MAC. */
#define MAC_A ('b')
#define MAC_B ('d')

static void follow(struct lease_watch *watch, struct devices *devices, int64_t now_s)
{
	lease_watch_look(watch, devices, now_s, KEEP, trouble);
	assert_string_equal(lease_watch_trouble(watch), "");
}

static void user_has_the_address_from_start_to_stop(void **state)
{
	struct devices *devices = devices_new(dir);
	struct lease_watch *watch = watch_of("radius");
	int64_t at = TODAY + 10 * HOUR;

	account("", "Start", "1", "jane", MAC_A, "10.0.0.7", at);
	follow(watch, devices, at + 1);
	assert_string_equal(who(devices, "10.0.0.7", at - 1), "-");
	assert_string_equal(who(devices, "10.0.0.7", at), "radius jane");
	account("", "Stop", "1", "jane", MAC_A, "", at + HOUR);
	follow(watch, devices, at + HOUR + 1);
	assert_string_equal(who(devices, "10.0.0.7", at + HOUR - 1), "radius jane");
	assert_string_equal(who(devices, "10.0.0.7", at + HOUR), "-");
	assert_string_equal(read_who("10.0.0.7", at + HOUR), "-");
	lease_watch_free(watch);
	devices_free(devices);
}

static void session_without_stop_ends_two_hours_after_its_last_word_or_by_its_timeout(void **state)
{
	struct devices *devices = devices_new(dir);
	struct lease_watch *watch = watch_of("radius");
	int64_t at = TODAY + 23 * HOUR;

	account("", "Start", "1", "jane", MAC_A, "10.0.0.7", at);
	account("", "Interim-Update", "1", "jane", MAC_A, "10.0.0.7", at + HOUR + 600);
	write_file("a",
	        "x\n\tAcct-Status-Type = Start\n\tUser-Name = \"tom\"\n\tFramed-IP-Address = 10.0.0.8\n"
	        "\tSession-Timeout = 600\n\tTimestamp = %lld\n\n",
	        (long long)at);
	follow(watch, devices, at + HOUR + 601);
	const struct moment moments[] = { { "10.0.0.7", at + 3 * HOUR + 599, "radius jane" },
		{ "10.0.0.7", at + 3 * HOUR + 600, "-" }, { "10.0.0.8", at + 599, "radius tom" },
		{ "10.0.0.8", at + 600, "-" } };
	ALL_ARE(devices, moments);
	lease_watch_free(watch);
	devices_free(devices);
}

/* An access point often does not know the address: DHCP does, and the MAC joins them. */
static void session_without_address_names_the_user_of_the_leased_device(void **state)
{
	struct devices *devices = devices_new(dir);
	struct lease_watch *watch = watch_of("radius");
	int64_t at = TODAY + 10 * HOUR;

	note(devices, "10.0.0.7", MAC_A, at - HOUR, at + 8 * HOUR, at);
	account("", "Start", "1", "jane", MAC_A, "", at);
	account("", "Start", "2", "tom", MAC_A, "", at + 600);
	follow(watch, devices, at + 601);
	assert_string_equal(who(devices, "10.0.0.7", at - 1), "lease device-b");
	assert_string_equal(who(devices, "10.0.0.7", at), "radius jane");
	assert_string_equal(who(devices, "10.0.0.7", at + 600), "radius tom");
	assert_string_equal(who(devices, "10.0.0.7", at + 600 + 2 * HOUR), "lease device-b");
	/* The kernel sees the same device at its IPv6 addresses. */
	see(devices, "10.0.0.9", MAC_A, at + 3 * HOUR, at + 3 * HOUR + 60);
	assert_string_equal(who(devices, "10.0.0.9", at + 3 * HOUR + 30), "neighbour device-b");
	see(devices, "10.0.0.9", MAC_A, at + 60, at + 120);
	assert_string_equal(who(devices, "10.0.0.9", at + 90), "radius jane");
	lease_watch_free(watch);
	devices_free(devices);
}

static void nobody_is_named_where_dhcp_knows_another_device(void **state)
{
	struct devices *devices = devices_new(dir);
	struct lease_watch *watch = watch_of("radius");
	int64_t at = TODAY + 10 * HOUR;

	account("", "Start", "1", "jane", MAC_A, "10.0.0.7", at);
	follow(watch, devices, at + 1);
	note(devices, "10.0.0.7", MAC_B, at + 600, at + 2 * HOUR, at + 600);
	assert_string_equal(who(devices, "10.0.0.7", at + 599), "radius jane");
	assert_string_equal(who(devices, "10.0.0.7", at + 600), "disputed device-d");
	lease_watch_free(watch);
	devices_free(devices);
}

static void stop_at_the_access_point_left_behind_ends_nothing(void **state)
{
	struct devices *devices = devices_new(dir);
	struct lease_watch *watch = watch_of("radius");
	int64_t at = TODAY + 10 * HOUR;

	account("", "Start", "1", "jane", MAC_A, "10.0.0.7", at);
	account("", "Start", "2", "jane", MAC_A, "10.0.0.7", at + 600);
	account("", "Stop", "1", "jane", MAC_A, "10.0.0.7", at + 605);
	follow(watch, devices, at + 606);
	assert_string_equal(who(devices, "10.0.0.7", at + 900), "radius jane");
	account("", "Stop", "2", "jane", MAC_A, "10.0.0.7", at + 1200);
	follow(watch, devices, at + 1201);
	assert_string_equal(who(devices, "10.0.0.7", at + 1200), "-");
	lease_watch_free(watch);
	devices_free(devices);
}

/* A file a day, and one that is half written. */
static void newest_file_is_followed_and_the_one_before_read_to_its_end(void **state)
{
	struct devices *devices = devices_new(dir);
	struct lease_watch *watch;
	int64_t at = TODAY + 10 * HOUR;
	char plain[sizeof file];

	memcpy(plain, file, sizeof plain);
	strcat(file, "/*/detail-*");
	watch = watch_of("radius");
	memcpy(file, plain, sizeof file);
	lease_watch_look(watch, devices, at, KEEP, trouble);
	assert_non_null(strstr(lease_watch_trouble(watch), "/*/detail-*: No such file"));
	assert_int_equal(mkdir(file, 0700), 0);
	strcat(file, "/ap1");
	assert_int_equal(mkdir(file, 0700), 0);
	account("/detail-20241003", "Start", "1", "jane", MAC_A, "10.0.0.7", at);
	follow(watch, devices, at + 20);
	account("/detail-20241004", "Start", "2", "tom", MAC_B, "10.0.0.8", at + 21);
	account("/detail-20241003", "Stop", "1", "jane", MAC_A, "", at + 22);
	follow(watch, devices, at + 40);
	assert_string_equal(who(devices, "10.0.0.7", at + 21), "radius jane");
	assert_string_equal(who(devices, "10.0.0.7", at + 22), "-");
	assert_string_equal(who(devices, "10.0.0.8", at + 22), "radius tom");
	strcat(file, "/detail-20241004");
	write_file("a", "x\n\tAcct-Status-Type = Start\n\tUser-Name = \"an");
	follow(watch, devices, at + 41);
	write_file("a", "na\"\n\tFramed-IP-Address = 10.0.0.9\n\tTimestamp = %lld\n\n", (long long)at + 41);
	follow(watch, devices, at + 42);
	assert_string_equal(who(devices, "10.0.0.9", at + 42), "radius anna");
	memcpy(file, plain, sizeof file);
	lease_watch_free(watch);
	devices_free(devices);
}

static void sessions_read_again_after_a_restart_change_nothing(void **state)
{
	static const struct moment moments[] = {
		{ "10.0.0.7", TODAY - HOUR + 1199, "radius jane" },
		{ "10.0.0.7", TODAY - HOUR + 1200, "-" },
		{ "10.0.0.7", TODAY - HOUR + 1300, "radius tom" },
		{ "10.0.0.7", TODAY + 10, "radius tom" },
	};
	struct devices *devices = devices_new(dir);
	int64_t at = TODAY - HOUR;
	off_t size = 0;

	account("", "Start", "1", "jane", MAC_A, "10.0.0.7", at);
	account("", "Interim-Update", "1", "jane", MAC_A, "10.0.0.7", at + 600);
	account("", "Stop", "1", "jane", MAC_A, "10.0.0.7", at + 1200);
	account("", "Start", "2", "tom", MAC_A, "10.0.0.7", at + 1300);
	for (int round = 0; round < 3; round++) {
		struct lease_watch *watch = watch_of("radius");
		follow(watch, devices, TODAY + HOUR);
		lease_watch_free(watch);
		ALL_ARE(devices, moments);
		size = round == 0 ? size_of_day(at) : size;
		assert_int_equal(size_of_day(at), size);
	}
	devices_free(devices);
}

static void forgotten_user_is_forgotten_and_the_next_at_the_device_is_not(void **state)
{
	struct devices *devices = devices_new(dir);
	struct lease_watch *watch = watch_of("radius");
	int64_t at = TODAY + 10 * HOUR;

	note(devices, "10.0.0.7", MAC_A, at - HOUR, at + 8 * HOUR, at);
	account("", "Start", "1", "jane", MAC_A, "10.0.0.7", at);
	account("", "Stop", "1", "jane", MAC_A, "10.0.0.7", at + 600);
	account("", "Start", "2", "tom", MAC_A, "10.0.0.7", at + 600);
	follow(watch, devices, at + 601);
	assert_int_equal(devices_forget(devices, NULL, "Jane", 0, at + DAY), 0);
	assert_string_equal(who(devices, "10.0.0.7", at + 1), "lease device-b");
	assert_string_equal(who(devices, "10.0.0.7", at + 600), "radius tom");
	lease_watch_free(watch);
	devices_free(devices);
}

static void lease_given_back_after_midnight_is_over(void **state)
{
	struct devices *devices = devices_new(dir);
	struct lease back = lease_of("10.0.0.7", 'a', TODAY + 600, TODAY + 600);

	back.ended = true;
	note(devices, "10.0.0.7", 'a', TODAY - 600, TODAY + HOUR, TODAY - 600);
	assert_int_equal(devices_note(devices, DEVICE_FROM_LEASE, &back, TODAY + 600, KEEP), 0);
	assert_string_equal(who(devices, "10.0.0.7", TODAY + 599), "lease device-a");
	assert_string_equal(read_who("10.0.0.7", TODAY + 600), "expired device-a");
	devices_free(devices);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(address_is_its_device_of_the_moment),
		TEST(renewal_makes_the_record_longer_and_the_file_no_bigger),
		TEST(what_is_known_is_not_written_again_after_a_restart),
		TEST(lease_over_days_is_in_each_days_file_so_that_none_must_be_kept_for_it),
		TEST(given_back_address_is_nobodys),
		TEST(kernels_word_names_addresses_without_lease_by_the_lease_of_their_mac),
		TEST(another_device_at_a_leased_address_is_disputed),
		TEST(mac_at_many_addresses_is_nobodys_own),
		TEST(deleted_day_is_gone_for_reader_and_writer),
		TEST(damaged_or_cut_file_is_no_fault),
		TEST(kea_file_is_followed_as_it_grows),
		TEST(kea_file_of_the_past_is_read_in_its_order),
		TEST(kea_file_that_is_cleaned_up_loses_nothing),
		TEST(dnsmasq_file_is_compared_with_what_it_said_before),
		TEST(file_that_cannot_be_read_is_told_once),
		TEST(user_has_the_address_from_start_to_stop),
		TEST(session_without_stop_ends_two_hours_after_its_last_word_or_by_its_timeout),
		TEST(session_without_address_names_the_user_of_the_leased_device),
		TEST(nobody_is_named_where_dhcp_knows_another_device),
		TEST(stop_at_the_access_point_left_behind_ends_nothing),
		TEST(newest_file_is_followed_and_the_one_before_read_to_its_end),
		TEST(sessions_read_again_after_a_restart_change_nothing),
		TEST(forgotten_user_is_forgotten_and_the_next_at_the_device_is_not),
		TEST(lease_given_back_after_midnight_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
