/* Updates from end to end: sources to a published generation, guards, what stays when something fails. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "blocklists/compile.h"
#include "blocklists/generations.h"
#include "blocklists/source_folder.h"
#include "list_folder.h"

/* Writes `count` names of a stem to a file. */
static void write_names(struct list_folder *folder, const char *file, const char *stem, unsigned count)
{
	char *text = calloc(count + 1, 64);

	for (unsigned i = 0; i < count; i++)
		sprintf(text + strlen(text), "%s%u.example.com\n", stem, i);
	list_folder_text(folder, file, text);
	free(text);
}

static bool exists(const struct list_folder *folder, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%s", folder->lists, name);
	return access(path, F_OK) == 0;
}

/* ---- archives ---- */

struct tar_entry {
	const char *path;
	const char *text; /* a file's, or NULL */
	const char *symlink, *hardlink;
};

static void write_tar(
        struct list_folder *folder, const char *name, const struct tar_entry *entries, size_t count)
{
	char path[PATH_MAX];
	struct archive *archive = archive_write_new();

	snprintf(path, sizeof path, "%s/%s", folder->path, name);
	archive_write_add_filter_gzip(archive);
	archive_write_set_format_ustar(archive);
	assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
	for (size_t i = 0; i < count; i++) {
		struct archive_entry *entry = archive_entry_new();
		size_t len = entries[i].text != NULL ? strlen(entries[i].text) : 0;
		archive_entry_set_pathname(entry, entries[i].path);
		archive_entry_set_filetype(entry, entries[i].symlink != NULL ? AE_IFLNK : AE_IFREG);
		archive_entry_set_perm(entry, 0644);
		if (entries[i].symlink != NULL)
			archive_entry_set_symlink(entry, entries[i].symlink);
		if (entries[i].hardlink != NULL)
			archive_entry_set_hardlink(entry, entries[i].hardlink);
		archive_entry_set_size(entry, (la_int64_t)len);
		assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
		if (len > 0)
			assert_int_equal(archive_write_data(archive, entries[i].text, len), len);
		archive_entry_free(entry);
	}
	assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
	archive_write_free(archive);
}

static const struct source_mapping ut1_map[] = { { "one", A }, { "alias", B }, { "nosuch", C } };

static void ut1_source(struct list_folder *folder)
{
	struct source *source = list_folder_source(folder, "ut1.tar.gz", PARSE_UT1, -1);

	source->map = ut1_map;
	source->map_count = sizeof ut1_map / sizeof ut1_map[0];
}

static void ut1_links_and_split_files_are_followed(void **state)
{
	static const struct tar_entry entries[] = {
		{ .path = "blacklists/alias", .symlink = "two" },
		{ "blacklists/one/domains", "one.example.com\nboth.example.com\n", NULL, NULL },
		{ "blacklists/one/domains2", "split.example.com\n", NULL, NULL },
		{ "blacklists/one/urls", "whole.example.com\npart.example.com/page\n", NULL, NULL },
		{ "blacklists/one/usage", "usage.example.com\n", NULL, NULL },
		{ "blacklists/two/domains", "two.example.com\nboth.example.com\n", NULL, NULL },
		{ .path = "blacklists/two/urls", .hardlink = "blacklists/one/urls" },
		{ "blacklists/three/domains", "three.example.com\n", NULL, NULL },
	};
	struct list_folder *folder = *state;

	ut1_source(folder);
	write_tar(folder, "ut1.tar.gz", entries, sizeof entries / sizeof entries[0]);
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_TAKEN);
	assert_int_equal(list_folder_look_up(folder, "www.one.example.com"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "split.example.com"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "two.example.com"), BIT(B));
	assert_int_equal(list_folder_look_up(folder, "both.example.com"), BIT(A) | BIT(B));
	assert_int_equal(list_folder_look_up(folder, "whole.example.com"), BIT(A) | BIT(B));
	assert_int_equal(list_folder_look_up(folder, "part.example.com"), 0);
	assert_int_equal(list_folder_look_up(folder, "usage.example.com"), 0);
	assert_int_equal(list_folder_look_up(folder, "three.example.com"), 0);
	json_t *account = source_folder_account(folder->lists, "ut1.tar.gz");
	assert_string_equal(
	        json_string_value(json_array_get(json_object_get(account, "ignored"), 0)), "three");
	assert_string_equal(
	        json_string_value(json_array_get(json_object_get(account, "missing"), 0)), "nosuch");
	assert_int_equal(json_array_size(json_object_get(account, "ignored")), 1);
	assert_int_equal(json_array_size(json_object_get(account, "missing")), 1);
	json_decref(account);
	assert_int_equal(list_folder_count(folder, "ut1.tar.gz", "skipped", "path"), 1);
}

static void archive_that_reaches_outside_is_held_and_named(void **state)
{
	static const struct tar_entry bad[] = {
		{ "../outside/domains", "bad.example.com\n", NULL, NULL },
		{ "blacklists/one/../../../outside/domains", "bad.example.com\n", NULL, NULL },
		{ "/outside/domains", "bad.example.com\n", NULL, NULL },
		{ .path = "blacklists/one", .symlink = "/etc" },
		{ .path = "blacklists/one", .symlink = "../../etc" },
		{ .path = "blacklists/one/domains", .hardlink = "/etc/passwd" },
		{ .path = "blacklists/one/domains", .hardlink = "../etc/passwd" },
	};
	static const struct tar_entry good[] = { { "blacklists/one/domains", "one.example.com\n", NULL,
		NULL } };
	struct list_folder *folder = *state;

	ut1_source(folder);
	write_tar(folder, "ut1.tar.gz", good, 1);
	list_folder_update(folder);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		write_tar(folder, "ut1.tar.gz", &bad[i], 1);
		list_folder_update(folder);
		assert_int_equal(folder->state[0], UPDATE_HELD);
		assert_non_null(strstr(folder->source_why[0], "refused"));
		assert_int_equal(folder->result.held, 1);
		assert_int_equal(list_folder_look_up(folder, "one.example.com"), BIT(A));
	}
}

static void links_in_a_circle_end(void **state)
{
	static const struct tar_entry entries[] = {
		{ .path = "blacklists/one", .symlink = "alias" },
		{ .path = "blacklists/alias", .symlink = "one" },
		{ "blacklists/two/domains", "two.example.com\n", NULL, NULL },
	};
	struct list_folder *folder = *state;

	ut1_source(folder);
	write_tar(folder, "ut1.tar.gz", entries, 3);
	assert_int_equal(update_run(&folder->options, &folder->result, folder->why), -ENODATA);
	assert_int_equal(folder->state[0], UPDATE_HELD);
}

static void bomb_is_held_before_it_is_read(void **state)
{
	struct list_folder *folder = *state;
	size_t len = (size_t)48 << 20;
	char *text = malloc(len + 1);

	memset(text, '\n', len);
	text[len] = '\0';
	memcpy(text, "one.example.com", 15);
	const struct tar_entry entry = { "blacklists/one/domains", text, NULL, NULL };
	ut1_source(folder);
	write_tar(folder, "ut1.tar.gz", &entry, 1);
	free(text);
	assert_int_equal(update_run(&folder->options, &folder->result, folder->why), -ENODATA);
	assert_int_equal(folder->state[0], UPDATE_HELD);
	assert_non_null(strstr(folder->source_why[0], "50 times"));
}

static void compressed_list_is_read_like_a_plain_one(void **state)
{
	static const struct tar_entry entries[] = { { "list.txt", "0.0.0.0 one.example.com\n", NULL, NULL },
		{ "README", "words to read\n", NULL, NULL } };
	struct list_folder *folder = *state;

	list_folder_source(folder, "a.tar.gz", PARSE_AUTO, A);
	write_tar(folder, "a.tar.gz", entries, 2);
	list_folder_update(folder);
	assert_int_equal(list_folder_look_up(folder, "one.example.com"), BIT(A));
}

/* ---- counts ---- */

static void every_entry_is_accounted_for(void **state)
{
	struct list_folder *folder = *state;

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_text(folder, "a",
	        "example.com\nexample.com\nEXAMPLE.com.\nwww.example.com\nx.y.example.com\nexample."
	        "org\ncom\n192.0.2.1\nbad name\n");
	list_folder_update(folder);
	assert_int_equal(list_folder_count(folder, "a", "read", NULL), 9);
	assert_int_equal(list_folder_count(folder, "a", "taken", NULL), 2);
	assert_int_equal(list_folder_count(folder, "a", "duplicate", NULL), 2);
	assert_int_equal(list_folder_count(folder, "a", "covered", NULL), 2);
	assert_int_equal(list_folder_count(folder, "a", "skipped", "public_suffix"), 1);
	assert_int_equal(list_folder_count(folder, "a", "skipped", "address"), 1);
	assert_int_equal(list_folder_count(folder, "a", "skipped", "bad_name"), 1);
	assert_int_equal(list_folder_count(folder, "a", "categories", "a"), 2);
	assert_int_equal(folder->result.names, 2);
}

static void what_does_not_fit_in_memory_is_sorted_on_disk(void **state)
{
	struct list_folder *folder = *state;
	char name[64];

	folder->options.memory = 4096; /* some thirty names at a time */
	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	write_names(folder, "a", "n", 3000);
	list_folder_update(folder);
	assert_int_equal(folder->result.names, 3000);
	for (unsigned i = 0; i < 3000; i += 97) {
		snprintf(name, sizeof name, "n%u.example.com", i);
		assert_int_equal(list_folder_look_up(folder, name), BIT(A));
	}
	assert_int_equal(list_folder_look_up(folder, "n3000.example.com"), 0);
}

/* ---- guards ---- */

/* Source a had a hundred names, and has so many now. */
static void shrink(struct list_folder *folder, unsigned left)
{
	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	write_names(folder, "a", "n", 100);
	list_folder_update(folder);
	write_names(folder, "a", "n", left);
}

static void shrunk_source_is_held_and_accepted_by_a_person(void **state)
{
	struct list_folder *folder = *state;
	char why[LISTS_WHY_MAX];

	shrink(folder, 69);
	for (unsigned i = 0; i < 2; i++) {
		list_folder_update(folder);
		assert_int_equal(folder->state[0], UPDATE_HELD);
		assert_non_null(strstr(folder->source_why[0], "31 %"));
		assert_false(folder->result.published);
	}
	assert_int_equal(list_folder_look_up(folder, "n99.example.com"), BIT(A));
	assert_int_equal(source_folder_accept(folder->lists, "nobody", "x", "me", why), -ENOENT);
	assert_int_equal(source_folder_accept(folder->lists, "../a", "x", "me", why), -EINVAL);
	assert_int_equal(source_folder_accept(folder->lists, "a", "it was split", "me", why), 0);
	folder->options.offline = true;
	list_folder_update(folder);
	assert_true(folder->result.published);
	assert_int_equal(list_folder_look_up(folder, "n99.example.com"), 0);
	folder->options.offline = false;
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_UNCHANGED);
	assert_false(folder->result.published);
}

static void accepted_source_that_cannot_be_moved_stays_held_with_its_candidate(void **state)
{
	struct list_folder *folder = *state;
	char why[LISTS_WHY_MAX], good[PATH_MAX], aside[PATH_MAX];

	shrink(folder, 60);
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_HELD);
	snprintf(good, sizeof good, "%s/sources/a/good", folder->lists);
	snprintf(aside, sizeof aside, "%s/sources/a/aside", folder->lists);
	assert_int_equal(rename(good, aside), 0);
	assert_int_equal(mkdir(good, 0755), 0);
	assert_true(source_folder_accept(folder->lists, "a", "it was split", "me", why) < 0);
	assert_non_null(strstr(why, "stays held"));
	assert_non_null(strstr(why, "sources/a"));
	assert_int_equal(rmdir(good), 0);
	assert_int_equal(rename(aside, good), 0);
	assert_int_equal(source_folder_accept(folder->lists, "a", "it was split", "me", why), 0);
	list_folder_update(folder);
	assert_int_equal(list_folder_look_up(folder, "n59.example.com"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "n60.example.com"), 0);
}

static void source_that_loses_just_the_limit_is_taken(void **state)
{
	struct list_folder *folder = *state;

	shrink(folder, 70);
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_TAKEN);
}

static void what_is_no_list_is_held_and_nobody_can_accept_it(void **state)
{
	static const char *const texts[] = { "<html><body>sign in</body></html>\n", "", "# nothing\n",
		"\1\2\3\4\5\6\7binary" };
	struct list_folder *folder = *state;
	char why[LISTS_WHY_MAX];

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_source(folder, "b", PARSE_DOMAINS, B);
	list_folder_text(folder, "a", "one.example.com\n");
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		write_names(folder, "b", "n", (unsigned)i + 10);
		list_folder_update(folder);
		list_folder_text(folder, "a", texts[i]);
		write_names(folder, "b", "m", (unsigned)i + 10);
		list_folder_update(folder);
		assert_int_equal(folder->state[0], UPDATE_HELD);
		assert_true(folder->source_why[0][0] != '\0');
		assert_true(folder->result.published); /* b went ahead */
		assert_int_equal(list_folder_look_up(folder, "one.example.com"), BIT(A));
		assert_int_equal(list_folder_look_up(folder, "m9.example.com"), BIT(B));
		assert_int_equal(source_folder_accept(folder->lists, "a", "please", "me", why), -EBADMSG);
		list_folder_text(folder, "a", "one.example.com\n");
	}
	list_folder_update(folder);
	json_t *account = source_folder_account(folder->lists, "a");
	assert_true(json_is_null(json_object_get(account, "held")));
	json_decref(account);
}

static void protected_names_are_left_out_and_newly_listed_ones_hold(void **state)
{
	struct list_folder *folder = *state;
	const struct source_guard guards[] = { { list_folder_name("www.help.example.com"), false },
		{ list_folder_name("school.example.org"), true } };

	folder->options.guards = guards;
	folder->options.guard_count = 2;
	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_source(folder, "b", PARSE_DOMAINS, SEALED);
	list_folder_text(folder, "a", "help.example.com\nother.example.com\nsub.www.help.example.com\n");
	list_folder_text(folder, "b", "pc.school.example.org\n");
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_TAKEN);
	assert_int_equal(list_folder_look_up(folder, "www.help.example.com"), 0);
	assert_int_equal(list_folder_look_up(folder, "other.example.com"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "sub.www.help.example.com"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "pc.school.example.org"), BIT(SEALED));
	assert_int_equal(list_folder_count(folder, "a", "skipped", "protected"), 1);
	list_folder_text(
	        folder, "a", "help.example.com\nother.example.com\nnew.example.com\npc.school.example.org\n");
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_HELD);
	assert_non_null(strstr(folder->source_why[0], "help.example.com"));
	assert_int_equal(list_folder_look_up(folder, "new.example.com"), 0);
	list_folder_text(folder, "a",
	        "help.example.com\nother.example.com\nnew.example.com\nsub.www.help.example.com\n");
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_TAKEN);
}

static void own_zone_or_safe_search_target_holds_even_a_new_source(void **state)
{
	struct list_folder *folder = *state;
	const struct source_guard guards[] = { { list_folder_name("safe.engine.example.com"), false, true },
		{ list_folder_name("school.example.org"), true, true } };
	static const char *const bad[] = { "pc.school.example.org\n", "school.example.org\n",
		"engine.example.com\n" };
	char why[LISTS_WHY_MAX], text[128];

	folder->options.guards = guards;
	folder->options.guard_count = 2;
	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_source(folder, "b", PARSE_DOMAINS, B);
	list_folder_text(folder, "b", "two.example.com\n");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		snprintf(text, sizeof text, "%sone.example.com\n", bad[i]);
		list_folder_text(folder, "a", text);
		list_folder_update(folder);
		assert_int_equal(folder->state[0], UPDATE_HELD);
		assert_non_null(strstr(folder->source_why[0], "the school's own"));
		assert_int_equal(list_folder_look_up(folder, "two.example.com"), BIT(B));
		assert_int_equal(list_folder_look_up(folder, "one.example.com"), 0);
	}
	assert_int_equal(source_folder_accept(folder->lists, "a", "known", "me", why), 0);
	list_folder_update(folder);
	assert_int_equal(list_folder_look_up(folder, "one.example.com"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "safe.engine.example.com"), 0);
	list_folder_text(folder, "a", "engine.example.com\none.example.com\nmore.example.com\n");
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_TAKEN);
}

static void name_that_becomes_protected_is_left_out_at_the_next_run(void **state)
{
	struct list_folder *folder = *state;
	const struct source_guard guard = { list_folder_name("help.example.com") };

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_text(folder, "a", "help.example.com\none.example.com\n");
	list_folder_update(folder);
	assert_int_equal(list_folder_look_up(folder, "help.example.com"), BIT(A));
	folder->options.guards = &guard;
	folder->options.guard_count = 1;
	list_folder_update(folder);
	assert_true(folder->result.published);
	assert_int_equal(list_folder_look_up(folder, "help.example.com"), 0);
	/* It was named before too: no reason to hold the source. */
	list_folder_text(folder, "a", "help.example.com\none.example.com\ntwo.example.com\n");
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_TAKEN);
}

static void source_that_grows_beyond_ten_times_is_held(void **state)
{
	struct list_folder *folder = *state;
	char why[LISTS_WHY_MAX];

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	write_names(folder, "a", "n", 20);
	list_folder_update(folder);
	write_names(folder, "a", "n", 201);
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_HELD);
	assert_non_null(strstr(folder->source_why[0], "ten times"));
	assert_int_equal(list_folder_look_up(folder, "n200.example.com"), 0);
	assert_int_equal(
	        source_folder_accept(folder->lists, "a", "it was joined with another", "me", why), 0);
	write_names(folder, "a", "n", 2010);
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_TAKEN);
}

static void sealed_category_that_runs_dry_is_held(void **state)
{
	static const struct source_mapping map[] = { { "one", SEALED }, { "two", B } };
	static const struct tar_entry full[] = { { "blacklists/one/domains", "one.example.com\n", NULL,
		                                         NULL },
		{ "blacklists/two/domains", "two.example.com\nthree.example.com\nfour.example.com\n", NULL,
		        NULL } };
	struct list_folder *folder = *state;

	ut1_source(folder);
	folder->sources[0].map = map;
	folder->sources[0].map_count = 2;
	write_tar(folder, "ut1.tar.gz", full, 2);
	list_folder_update(folder);
	write_tar(folder, "ut1.tar.gz", full + 1, 1);
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_HELD);
	assert_non_null(strstr(folder->source_why[0], "sealed category sealed"));
	assert_int_equal(list_folder_look_up(folder, "one.example.com"), BIT(SEALED));
}

static void canaries_hold_what_lists_too_much_or_too_little(void **state)
{
	struct list_folder *folder = *state;
	struct name everywhere = list_folder_name("www.wiki.example.org");
	struct name block[] = { list_folder_name("sub.bad.example.com"),
		list_folder_name("worse.example.com") };
	struct name pass = list_folder_name("good.example.com");
	static const struct {
		const char *text, *why; /* why NULL: taken */
	} cases[] = {
		{ "bad.example.com\nworse.example.com\n", NULL },
		{ "bad.example.com\n", "does not list worse.example.com" },
		{ "worse.example.com\nother.sub.bad.example.com\n", "does not list sub.bad.example.com" },
		{ "bad.example.com\nworse.example.com\ngood.example.com\n",
		        "lists good.example.com, which must pass" },
		{ "bad.example.com\nworse.example.com\nbelow.good.example.com\n", NULL },
		{ "bad.example.com\nworse.example.com\nwiki.example.org\n", "lists www.wiki.example.org" },
		{ "example.com\n", "lists good.example.com" },
		{ "example.org\nbad.example.com\nworse.example.com\n", "lists www.wiki.example.org" },
		{ "bad.example.com\nworse.example.com\nzzz.example.net\n", NULL },
	};

	folder->options.must_pass = &everywhere;
	folder->options.must_pass_count = 1;
	struct source *source = list_folder_source(folder, "a", PARSE_DOMAINS, A);
	source->must_block = block;
	source->must_block_count = 2;
	source->must_pass = &pass;
	source->must_pass_count = 1;
	folder->options.max_shrink_percent = 100;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		list_folder_text(folder, "a", cases[i].text);
		list_folder_update(folder);
		assert_int_equal(folder->state[0], cases[i].why == NULL ? UPDATE_TAKEN : UPDATE_HELD);
		if (cases[i].why != NULL)
			assert_non_null(strstr(folder->source_why[0], cases[i].why));
	}
}

static void exception_of_the_list_itself_satisfies_must_pass(void **state)
{
	struct list_folder *folder = *state;
	struct name pass = list_folder_name("good.example.com");
	struct source *source = list_folder_source(folder, "a", PARSE_ADBLOCK, A);

	source->must_pass = &pass;
	source->must_pass_count = 1;
	list_folder_text(folder, "a", "||example.com^\n@@||good.example.com^\n");
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_TAKEN);
}

static void suffix_of_many_owners_is_taken_and_counted(void **state)
{
	struct list_folder *folder = *state;

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_text(folder, "a", "github.io\nco.uk\ncom\none.github.io\none.example.com\n");
	list_folder_update(folder);
	assert_int_equal(list_folder_look_up(folder, "somebody.github.io"), BIT(A));
	assert_int_equal(list_folder_count(folder, "a", "shared", NULL), 1);
	assert_int_equal(list_folder_count(folder, "a", "skipped", "public_suffix"), 2);
}

static void list_of_another_format_is_no_list(void **state)
{
	struct list_folder *folder = *state;
	char text[64 * 12] = "one.example.com\n";

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	for (unsigned i = 0; i < 5; i++)
		sprintf(text + strlen(text), "0.0.0.0 n%u.example.com\n", i);
	list_folder_text(folder, "a", text);
	assert_int_equal(update_run(&folder->options, &folder->result, folder->why), -ENODATA);
	assert_int_equal(folder->state[0], UPDATE_HELD);
	assert_non_null(strstr(folder->source_why[0], "format domains"));
}

/* ---- what stays ---- */

static void failed_fetch_keeps_the_last_good_content(void **state)
{
	struct list_folder *folder = *state;
	char path[PATH_MAX];

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_source(folder, "b", PARSE_DOMAINS, B);
	list_folder_text(folder, "a", "one.example.com\n");
	list_folder_text(folder, "b", "two.example.com\n");
	list_folder_update(folder);
	snprintf(path, sizeof path, "%s/a", folder->path);
	unlink(path);
	list_folder_text(folder, "b", "three.example.com\n");
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_FAILED);
	assert_int_equal(folder->result.failed, 1);
	assert_int_equal(list_folder_look_up(folder, "one.example.com"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "three.example.com"), BIT(B));
	json_t *account = source_folder_account(folder->lists, "a");
	assert_true(json_is_object(json_object_get(account, "failed")));
	json_decref(account);
}

static void lost_content_never_makes_a_hole_in_the_filter(void **state)
{
	struct list_folder *folder = *state;
	char path[PATH_MAX];

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_source(folder, "b", PARSE_DOMAINS, B);
	list_folder_text(folder, "a", "one.example.com\n");
	list_folder_text(folder, "b", "two.example.com\n");
	list_folder_update(folder);
	list_folder_text(folder, "lists/sources/a/good.json", "damaged");
	snprintf(path, sizeof path, "%s/a", folder->path);
	unlink(path);
	list_folder_text(folder, "b", "two.example.com\nthree.example.com\n");
	assert_int_equal(update_run(&folder->options, &folder->result, folder->why), -ENODATA);
	assert_non_null(strstr(folder->why, "a: "));
	assert_int_equal(list_folder_look_up(folder, "one.example.com"), BIT(A));
	list_folder_text(folder, "a", "one.example.com\n");
	list_folder_update(folder);
	assert_int_equal(list_folder_look_up(folder, "three.example.com"), BIT(B));
	/* the file itself: the next run fetches it anew */
	list_folder_text(folder, "lists/sources/a/good", "<html>");
	folder->options.offline = folder->options.force = true;
	assert_int_equal(update_run(&folder->options, &folder->result, folder->why), -EBADMSG);
	assert_int_equal(list_folder_look_up(folder, "one.example.com"), BIT(A));
	folder->options.offline = false;
	list_folder_update(folder);
	assert_true(folder->result.published);
}

static void content_of_another_sha256_is_not_taken(void **state)
{
	struct list_folder *folder = *state;
	struct source *source = list_folder_source(folder, "a", PARSE_DOMAINS, A);

	source->sha256 = "9a271f2a916b0b6ee6cecb2426f0b3206ef074578be55d9bc94f6f3fe3ab86aa";
	list_folder_text(folder, "a", "one.example.com\n");
	assert_int_equal(update_run(&folder->options, &folder->result, folder->why), -ENODATA);
	assert_int_equal(folder->state[0], UPDATE_FAILED);
}

static void nothing_new_publishes_nothing_unless_forced(void **state)
{
	struct list_folder *folder = *state;

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_text(folder, "a", "one.example.com\n");
	list_folder_update(folder);
	assert_true(folder->result.published);
	list_folder_update(folder);
	assert_false(folder->result.published);
	assert_int_equal(folder->result.id, 1);
	folder->options.force = true;
	list_folder_update(folder);
	assert_true(folder->result.published);
	assert_int_equal(folder->result.id, 2);
}

static void changed_map_reads_the_same_file_again(void **state)
{
	struct list_folder *folder = *state;

	struct source *source = list_folder_source(folder, "a", PARSE_DOMAINS, A);
	write_names(folder, "a", "n", 200);
	list_folder_update(folder);
	source->category = B;
	list_folder_update(folder);
	assert_int_equal(folder->state[0], UPDATE_TAKEN);
	assert_true(folder->result.published);
	assert_int_equal(list_folder_look_up(folder, "n7.example.com"), BIT(B));
}

static void one_source_alone_is_fetched_when_asked(void **state)
{
	struct list_folder *folder = *state;

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_source(folder, "b", PARSE_DOMAINS, B);
	list_folder_text(folder, "a", "one.example.com\n");
	list_folder_text(folder, "b", "two.example.com\n");
	list_folder_update(folder);
	list_folder_text(folder, "a", "one.example.com\nnew-a.example.com\n");
	list_folder_text(folder, "b", "two.example.com\nnew-b.example.com\n");
	folder->options.only = "b";
	list_folder_update(folder);
	assert_int_equal(list_folder_look_up(folder, "new-a.example.com"), 0);
	assert_int_equal(list_folder_look_up(folder, "new-b.example.com"), BIT(B));
	folder->options.only = "c";
	assert_int_equal(update_run(&folder->options, &folder->result, folder->why), -ENOENT);
}

/* ---- generations ---- */

static void old_generations_go_and_the_current_one_never(void **state)
{
	struct list_folder *folder = *state;
	uint64_t ids[8];

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_text(folder, "a", "one.example.com\n");
	folder->options.force = true;
	for (unsigned i = 0; i < 5; i++)
		list_folder_update(folder);
	assert_int_equal(generations_list(folder->lists, ids, 8), 3);
	assert_int_equal(ids[0], 5);
	assert_int_equal(ids[2], 3);
	assert_false(exists(folder, "gen-000002.mdb"));
	assert_int_equal(generations_rollback(folder->lists, 3), 0);
	assert_int_equal(generations_prune(folder->lists, 1), 0);
	assert_int_equal(generations_list(folder->lists, ids, 8), 2);
	assert_true(exists(folder, "gen-000003.mdb"));
	assert_int_equal(lists_current_id(folder->lists), 3);
}

static void rollback_stays_until_resumed(void **state)
{
	struct list_folder *folder = *state;

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_text(folder, "a", "one.example.com\n");
	list_folder_update(folder);
	list_folder_text(folder, "a", "two.example.com\n");
	list_folder_update(folder);
	assert_int_equal(generations_rollback(folder->lists, 1), 0);
	assert_int_equal(list_folder_look_up(folder, "one.example.com"), BIT(A));
	list_folder_text(folder, "a", "three.example.com\n");
	list_folder_update(folder);
	assert_true(folder->result.pinned);
	assert_false(folder->result.published);
	assert_int_equal(folder->result.id, 1);
	folder->options.resume = true;
	list_folder_update(folder);
	assert_false(folder->result.pinned);
	assert_int_equal(folder->result.id, 3);
	assert_int_equal(list_folder_look_up(folder, "three.example.com"), BIT(A));
	assert_int_equal(generations_pinned(folder->lists), 0);
}

static void rubbish_of_a_killed_run_is_cleaned(void **state)
{
	struct list_folder *folder = *state;

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_text(folder, "a", "one.example.com\n");
	list_folder_update(folder);
	list_folder_text(folder, "lists/work/gen-000002.mdb", "half");
	list_folder_text(folder, "lists/work/temp-abcdef", "half");
	list_folder_text(folder, "lists/gen-000002.mdb", "moved, but its manifest was not");
	list_folder_text(folder, "lists/current.new", "half");
	list_folder_text(folder, "a", "two.example.com\n");
	list_folder_update(folder);
	assert_int_equal(folder->result.id, 2);
	assert_false(exists(folder, "work/temp-abcdef"));
	assert_int_equal(list_folder_look_up(folder, "two.example.com"), BIT(A));
}

static void damaged_current_generation_is_made_anew(void **state)
{
	struct list_folder *folder = *state;

	list_folder_source(folder, "a", PARSE_DOMAINS, A);
	list_folder_text(folder, "a", "one.example.com\n");
	list_folder_update(folder);
	list_folder_text(folder, "lists/gen-000001.mdb", "damaged");
	list_folder_update(folder);
	assert_true(folder->result.published);
	assert_int_equal(list_folder_look_up(folder, "one.example.com"), BIT(A));
}

static void second_run_waits_for_the_lock(void **state)
{
	struct list_folder *folder = *state;

	char why[LISTS_WHY_MAX];

	int lock = generations_lock(folder->lists, 0, why);
	assert_true(lock >= 0);
	assert_int_equal(generations_lock(folder->lists, 0, why), -EBUSY);
	assert_non_null(strstr(why, "another update is running"));
	close(lock);
	lock = generations_lock(folder->lists, 0, why);
	assert_true(lock >= 0);
	close(lock);
}

/* ---- the starter list ---- */

static const char starter[] =
        "# starter\n[a]\none.example.com\n\n[b]\ntwo.example.com\n[nosuch]\nthree.example.com\n";

static void starter_list_is_the_first_generation(void **state)
{
	struct list_folder *folder = *state;
	struct lists *lists;
	char why[LISTS_WHY_MAX];

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(compile_starter(folder->lists, starter, sizeof starter - 1,
		                         list_folder_categories, LIST_FOLDER_CATEGORIES, why),
		        0);
	assert_int_equal(lists_current_id(folder->lists), 1);
	assert_int_equal(list_folder_look_up(folder, "www.one.example.com"), BIT(A));
	assert_int_equal(list_folder_look_up(folder, "two.example.com"), BIT(B));
	assert_int_equal(list_folder_look_up(folder, "three.example.com"), 0);
	assert_int_equal(
	        lists_open(&lists, folder->lists, NULL, list_folder_categories, LIST_FOLDER_CATEGORIES, why),
	        0);
	assert_true(lists_info(lists)->starter);
	assert_string_equal(lists_info(lists)->sources[0].name, "starter");
	lists_free(lists);
}

static void starter_list_is_a_source_like_others(void **state)
{
	struct list_folder *folder = *state;
	struct lists *lists;
	char why[LISTS_WHY_MAX];

	folder->options.starter = starter;
	folder->options.starter_len = sizeof starter - 1;
	list_folder_source(folder, "own", PARSE_DOMAINS, C);
	list_folder_text(folder, "own", "one.example.com\n");
	list_folder_update(folder);
	assert_int_equal(list_folder_look_up(folder, "one.example.com"), BIT(A) | BIT(C));
	assert_int_equal(
	        lists_open(&lists, folder->lists, NULL, list_folder_categories, LIST_FOLDER_CATEGORIES, why),
	        0);
	assert_false(lists_info(lists)->starter);
	lists_free(lists);
	list_folder_update(folder);
	assert_false(folder->result.published);
	folder->sources[0].name = "starter";
	assert_int_equal(update_run(&folder->options, &folder->result, folder->why), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, list_folder_setup, list_folder_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ut1_links_and_split_files_are_followed),
		TEST(archive_that_reaches_outside_is_held_and_named),
		TEST(links_in_a_circle_end),
		TEST(bomb_is_held_before_it_is_read),
		TEST(compressed_list_is_read_like_a_plain_one),
		TEST(every_entry_is_accounted_for),
		TEST(what_does_not_fit_in_memory_is_sorted_on_disk),
		TEST(shrunk_source_is_held_and_accepted_by_a_person),
		TEST(accepted_source_that_cannot_be_moved_stays_held_with_its_candidate),
		TEST(source_that_loses_just_the_limit_is_taken),
		TEST(what_is_no_list_is_held_and_nobody_can_accept_it),
		TEST(protected_names_are_left_out_and_newly_listed_ones_hold),
		TEST(own_zone_or_safe_search_target_holds_even_a_new_source),
		TEST(name_that_becomes_protected_is_left_out_at_the_next_run),
		TEST(source_that_grows_beyond_ten_times_is_held),
		TEST(sealed_category_that_runs_dry_is_held),
		TEST(canaries_hold_what_lists_too_much_or_too_little),
		TEST(exception_of_the_list_itself_satisfies_must_pass),
		TEST(suffix_of_many_owners_is_taken_and_counted),
		TEST(list_of_another_format_is_no_list),
		TEST(failed_fetch_keeps_the_last_good_content),
		TEST(lost_content_never_makes_a_hole_in_the_filter),
		TEST(content_of_another_sha256_is_not_taken),
		TEST(nothing_new_publishes_nothing_unless_forced),
		TEST(changed_map_reads_the_same_file_again),
		TEST(one_source_alone_is_fetched_when_asked),
		TEST(old_generations_go_and_the_current_one_never),
		TEST(rollback_stays_until_resumed),
		TEST(rubbish_of_a_killed_run_is_cleaned),
		TEST(damaged_current_generation_is_made_anew),
		TEST(second_run_waits_for_the_lock),
		TEST(starter_list_is_the_first_generation),
		TEST(starter_list_is_a_source_like_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
