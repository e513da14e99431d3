/* Signatures that minisign 0.11 made, and every way in which they can be wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "blocklists/signature.h"

#define KEY "RWQotFwKcM8x35UJ7JlFqjOTFdozDqFW6m1N9ciyiLcqykXJopsa9XC6"
#define OTHER_KEY "RWRv/ZbksZPTAbDjhXgv3UvL6qewLHM/vxctjISwlchst1M+rengDhaE"
#define LIST "casino.com\npoker.net\n"
#define COMMENT "lists of the trust, 2026-11-22"
#define HASHED                                                                                               \
	"RUQotFwKcM8x3wAlgbVHDH9thOX1cE1jeY3+/"                                                              \
	"4dwj8IFd5dCNZoWPozMncScgPZFgTscMUV7Jo72S4eWk5qBbE+J93cLwtIGKQ4="
#define HASHED_COMMENT                                                                                       \
	"/bPvj3Ah1Z+RYkSXwBRpw9OPFJR8sBjEFIaKZqhbx6XtFOQzQHxOXpuJoq3yAYYbI3i7ogbIhBk2FbyhtOiHBA=="
#define WHOLE                                                                                                \
	"RWQotFwKcM8x3353DxZ9SCmNa7hqXF6TCowcp7t0w3t2xHTQZhrMSBMQGy228rZ3TSE/29JKoKzt/"                      \
	"KtmyhOP0qlqHWE8zEHDmAw="
#define WHOLE_COMMENT                                                                                        \
	"wbL+qsA1XsjA8tmHKwXiYED6KaCsiHUyuNC+yJ61Ihv9uEDHlqOywFCi0/AhoMcVZQwb2XWWqF0522tOaXiyCg=="
#define MINISIG(signature, comment, over)                                                                    \
	"untrusted comment: made by nobody\n" signature "\ntrusted comment: " comment "\n" over "\n"

static char path[64];
static char comment[SIGNATURE_COMMENT_MAX], why[LISTS_WHY_MAX];

static int setup(void **state)
{
	(void)state;
	snprintf(path, sizeof path, "/tmp/usher-test-XXXXXX");
	int fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

static int verify(const char *key_text, const char *list, const char *minisig)
{
	struct signature_key key;
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(list, file);
	fclose(file);
	why[0] = '\0';
	assert_int_equal(signature_key_parse(&key, key_text), 0);
	return signature_verify(&key, path, minisig, strlen(minisig), comment, why);
}

static void assert_refused(const char *list, const char *minisig, const char *words)
{
	assert_int_equal(verify(KEY, list, minisig), -EBADMSG);
	assert_non_null(strstr(why, words));
	assert_string_equal(comment, "");
}

static void both_forms_are_verified(void **state)
{
	(void)state;
	assert_int_equal(verify(KEY, LIST, MINISIG(HASHED, COMMENT, HASHED_COMMENT)), 0);
	assert_string_equal(comment, COMMENT);
	assert_int_equal(verify(KEY, LIST, MINISIG(WHOLE, COMMENT, WHOLE_COMMENT)), 0);
	assert_string_equal(comment, COMMENT);
	assert_int_equal(verify(KEY, LIST,
	                         "untrusted comment: \r\n" HASHED "\r\ntrusted comment: " COMMENT
	                         "\r\n" HASHED_COMMENT "\r\n"),
	        0);
}

static void changed_list_is_refused(void **state)
{
	static const char *const lists[] = { "", "casino.com\n", LIST "x", "casino.com\npoker.nex\n" };

	(void)state;
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		assert_refused(lists[i], MINISIG(HASHED, COMMENT, HASHED_COMMENT), "not what was signed");
		assert_refused(lists[i], MINISIG(WHOLE, COMMENT, WHOLE_COMMENT), "not what was signed");
	}
}

static void changed_trusted_comment_is_refused(void **state)
{
	(void)state;
	assert_refused(LIST, MINISIG(HASHED, COMMENT "!", HASHED_COMMENT), "trusted comment");
	assert_refused(LIST, MINISIG(HASHED, "", HASHED_COMMENT), "trusted comment");
	assert_refused(LIST, MINISIG(HASHED, COMMENT, WHOLE_COMMENT), "trusted comment");
}

static void other_key_is_refused(void **state)
{
	(void)state;
	assert_int_equal(verify(OTHER_KEY, LIST, MINISIG(HASHED, COMMENT, HASHED_COMMENT)), -EBADMSG);
	assert_non_null(strstr(why, "another key"));
}

static void what_is_no_minisig_is_refused(void **state)
{
	static const char *const texts[] = { "", "\n\n\n\n", "<html>404</html>\n", HASHED,
		"untrusted comment: x\n" HASHED "\n",
		"untrusted comment: x\n" HASHED "\ntrusted comment: x\n",
		"untrusted comment: x\n" HASHED "A\ntrusted comment: x\n" HASHED_COMMENT "\n",
		"untrusted comment: x\n" HASHED "\ntrusted comment: x\n" HASHED "\n",
		"untrusted comment: x\n" KEY "\ntrusted comment: x\n" HASHED_COMMENT "\n" };

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		assert_refused(LIST, texts[i], "not a file of minisign");
}

static void missing_list_is_an_error(void **state)
{
	struct signature_key key;

	(void)state;
	assert_int_equal(signature_key_parse(&key, KEY), 0);
	assert_int_equal(signature_verify(&key, "/nonexistent", MINISIG(HASHED, COMMENT, HASHED_COMMENT),
	                         strlen(MINISIG(HASHED, COMMENT, HASHED_COMMENT)), comment, why),
	        -ENOENT);
}

static void key_is_56_characters_of_base64(void **state)
{
	static const char *const bad[] = { "", "RW", HASHED, KEY "=", "QUFB", "untrusted comment: " KEY };
	struct signature_key key;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(signature_key_parse(&key, bad[i]), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_forms_are_verified),
		cmocka_unit_test(changed_list_is_refused),
		cmocka_unit_test(changed_trusted_comment_is_refused),
		cmocka_unit_test(other_key_is_refused),
		cmocka_unit_test(what_is_no_minisig_is_refused),
		cmocka_unit_test(missing_list_is_an_error),
		cmocka_unit_test(key_is_56_characters_of_base64),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
