/* Who had an address when: devices.c, and lease_watch.c over it. */
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
	struct devices *devices = devices_new(dir);

	note(devices, "10.0.0.7", 'a', TODAY + 8 * HOUR, TODAY + 9 * HOUR, TODAY + 8 * HOUR);
	note(devices, "10.0.0.7", 'b', TODAY + 10 * HOUR, TODAY + 12 * HOUR, TODAY + 10 * HOUR);
	note(devices, "10.0.0.8", 'c', TODAY + 8 * HOUR, TODAY + 20 * HOUR, TODAY + 10 * HOUR);
	for (int round = 0; round < 2; round++) {
		assert_string_equal(read_who("10.0.0.7", TODAY + 8 * HOUR - 1), "-");
		assert_string_equal(read_who("10.0.0.7", TODAY + 8 * HOUR), "lease device-a");
		assert_string_equal(read_who("10.0.0.7", TODAY + 9 * HOUR), "expired device-a");
		assert_string_equal(read_who("10.0.0.7", TODAY + 10 * HOUR), "lease device-b");
		assert_string_equal(read_who("10.0.0.8", TODAY + 10 * HOUR), "lease device-c");
		assert_string_equal(read_who("10.0.0.9", TODAY + 10 * HOUR), "-");
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
	struct devices *devices = devices_new(dir);

	note(devices, "10.0.0.7", 'a', TODAY, TODAY + 8 * HOUR, TODAY);
	see(devices, "10.0.0.99", 'a', TODAY + HOUR, TODAY + 2 * HOUR);
	see(devices, "10.0.0.98", 'q', TODAY + HOUR, TODAY + 2 * HOUR);
	assert_string_equal(who(devices, "10.0.0.99", TODAY + HOUR), "neighbour device-a");
	assert_string_equal(who(devices, "10.0.0.99", TODAY + 2 * HOUR + 100), "neighbour device-a");
	assert_string_equal(who(devices, "10.0.0.99", TODAY + HOUR - 200), "-");
	assert_string_equal(who(devices, "10.0.0.99", TODAY + 2 * HOUR + 200), "-");
	assert_string_equal(who(devices, "10.0.0.98", TODAY + HOUR), "neighbour 71:71:71:71:71:71");
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
	struct devices *devices = devices_new(dir);
	struct lease_watch *watch = watch_of("kea");

	write_file("w", KEA_HEAD KEA_ROW KEA_ROW "10.0.0.7,62:62:62:62:62:62,,7200,%lld,1,0,0,device-b,0,\n",
	        12 * HOUR, (long long)TODAY + 6 * HOUR, 0, (long long)TODAY - 6 * HOUR,
	        (long long)TODAY + 4 * HOUR);
	lease_watch_look(watch, devices, TODAY + 5 * HOUR, KEEP, trouble);
	assert_string_equal(who(devices, "10.0.0.7", TODAY - 5 * HOUR), "lease device-a");
	assert_string_equal(who(devices, "10.0.0.7", TODAY + HOUR), "expired device-a");
	assert_string_equal(who(devices, "10.0.0.7", TODAY + 3 * HOUR), "lease device-b");
	assert_string_equal(who(devices, "10.0.0.7", TODAY + 5 * HOUR), "expired device-b");
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
