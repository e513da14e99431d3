/* Kinds of where alerts go. */
#include "config_kind.h"

#define MAIL_MAX 254 /* RFC 5321 4.5.3.1.3, without the brackets */
#define URL_MAX 2000

/*
 * A mailbox of RFC 5321 4.1.2 without quoting: what could end a header line, begin another address or be
 * taken for an option of sendmail is not there.
 */
static bool is_mail_address(const char *text, size_t len)
{
	static const char local[] =
	        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!#$%&'*+/=?^_`{|}~-";
	static const char domain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
	size_t before = strspn(text, local);

	if (len > MAIL_MAX || strlen(text) != len || before == 0 || before > 64 || text[0] == '-' ||
	        text[before] != '@')
		return false;
	return text[before + 1] != '\0' && strspn(text + before + 1, domain) == len - before - 1;
}

READ(mail)
{
	if ((node->len == 0 && config_may_be_empty(option)) || is_mail_address(node->text, node->len))
		config_keep_text(reader, node->text, at);
	else
		config_wrong(reader, node, "a mail address such as dsl@school.example");
}

static void print_mail(struct config_printer *printer, const struct config_option *option, const void *at)
{
	config_print_scalar(printer->to, *(const char *const *)at);
}

KIND(mail, .example = "dsl@school.example");

/* Of printable ASCII, with one of the schemes and something behind it. */
static bool is_url_of(const struct config_node *node, const char *const *schemes)
{
	if (node->len >= URL_MAX || strlen(node->text) != node->len)
		return false;
	for (const char *at = node->text; *at; at++)
		if ((unsigned char)*at <= 0x20 || (unsigned char)*at >= 0x7f)
			return false;
	for (; *schemes; schemes++)
		if (strncmp(node->text, *schemes, strlen(*schemes)) == 0 && node->len > strlen(*schemes))
			return true;
	return false;
}

READ(hook)
{
	static const char *const schemes[] = { "https://", "http://", NULL };

	if ((node->len == 0 && config_may_be_empty(option)) || is_url_of(node, schemes))
		config_keep_text(reader, node->text, at);
	else
		config_wrong(reader, node,
		        "a URL that begins with https:// (or http://, which anybody on the way can read)");
}

#define print_hook print_mail
KIND(hook, .example = "https://school.example/alert");

READ(smtp)
{
	static const char *const schemes[] = { "smtp://", "smtps://", NULL };

	if ((node->len == 0 && config_may_be_empty(option)) || is_url_of(node, schemes))
		config_keep_text(reader, node->text, at);
	else
		config_wrong(reader, node,
		        "a mail server such as smtp://mail.school.example:25 or smtps://mail.school.example");
}

#define print_smtp print_mail
KIND(smtp, .example = "smtp://mail.school.example:25");
