#include "courier.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syslog.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BUSY_MAX 8
#define SENDMAIL_S 30
#define CONNECT_S 5L
#define EXCHANGE_S 20L
#define SECRET_MAX 4096
#define STEP_MS 20

/* A message on its way; it belongs to its thread, and when that has ended to the courier's list. */
struct trip {
	struct trip *next;
	struct courier *courier;
	struct courier_job job;
	char *to, *text;
	struct courier_result result;
};

struct courier {
	const struct config_alerts *alerts;
	int fd;
	pthread_mutex_t lock;
	struct trip *back; /* under the lock, as busy */
	unsigned busy;
};

static const char *const channels[] = { "mail", "webhook", "syslog" };

const char *courier_channel_text(enum courier_channel channel)
{
	return channels[channel];
}

__attribute__((format(printf, 2, 3))) static void fail(struct trip *trip, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(trip->result.why, sizeof trip->result.why, format, args);
	va_end(args);
	for (char *at = trip->result.why; *at; at++)
		if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7f)
			*at = '?';
}

/* ---- sendmail ---- */

/*
 * Its input is the message, its errors come back. The addresses stand in the header (-t), and a line of a dot
 * ends nothing (-i).
 */
static pid_t sendmail_start(const char *program, int in, int err)
{
	char *argv[] = { (char *)program, (char *)"-t", (char *)"-i", NULL };
	char *environment[] = { (char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", (char *)"LC_ALL=C", NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t all;
	pid_t pid = -1;

	sigemptyset(&all);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &all);
	sigfillset(&all);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, err, 2);
	errno = posix_spawn(&pid, program, &actions, &attributes, argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return errno == 0 ? pid : -1;
}

/* A file without a name that holds the message: a pipe would fill where the program does not read. */
static int text_file(const char *text)
{
	int fd = memfd_create("mail", MFD_CLOEXEC);
	size_t len = strlen(text);

	if (fd >= 0 && (write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The program's status, or -1 if it did not end in time and was killed. */
static int sendmail_await(pid_t pid)
{
	static const struct timespec step = { .tv_nsec = STEP_MS * 1000000 };
	int status;

	for (unsigned ms = 0; ms < SENDMAIL_S * 1000; ms += STEP_MS) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		nanosleep(&step, NULL);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

static void sendmail_run(struct trip *trip)
{
	const char *program = trip->courier->alerts->sendmail;
	int in = text_file(trip->text), err = memfd_create("sendmail", MFD_CLOEXEC);
	char said[120] = "";
	pid_t pid = in >= 0 && err >= 0 ? sendmail_start(program, in, err) : -1;

	if (pid < 0) {
		fail(trip, "%s cannot be run: %s", program, strerror(errno));
	} else {
		int status = sendmail_await(pid);
		if (pread(err, said, sizeof said - 1, 0) < 0)
			said[0] = '\0';
		said[strcspn(said, "\n")] = '\0';
		trip->result.is_done = status == 0;
		if (status == -1)
			fail(trip, "%s did not end within %d s", program, SENDMAIL_S);
		else if (status != 0)
			fail(trip, "%s ended with %s %d%s%s", program,
			        WIFSIGNALED(status) ? "signal" : "exit code",
			        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
			        *said ? ": " : "", said);
	}
	if (in >= 0)
		close(in);
	if (err >= 0)
		close(err);
}

/* ---- curl ---- */

struct upload {
	const char *at;
	bool return_due; /* a \n was met, its \r went */
};

/* RFC 5321 2.3.8: lines end in CRLF. Dots are curl's business. */
static size_t upload_read(char *to, size_t size, size_t count, void *arg)
{
	struct upload *upload = arg;
	size_t len = 0;

	while (len < size * count && *upload->at) {
		if (*upload->at == '\n' && !upload->return_due) {
			to[len++] = '\r';
			upload->return_due = true;
			continue;
		}
		upload->return_due = false;
		to[len++] = *upload->at++;
	}
	return len;
}

static size_t ignore_reply(char *data, size_t size, size_t count, void *arg)
{
	return size * count;
}

static void curl_prepare(CURL *curl, const char *url)
{
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, EXCHANGE_S);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https,smtp,smtps");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore_reply);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "usher/" USHER_VERSION);
}

/* The name in the From line: what is between the brackets. */
static void mail_from(const char *text, char from[300])
{
	const char *begin = strstr(text, "From: "), *end = begin ? strchr(begin, '\n') : NULL;

	snprintf(from, 300, "%.*s", end ? (int)(end - begin - 6) : 0, begin ? begin + 6 : "");
}

/* "user:password@" in a URL: such a thing is told to the server that is meant alone, under TLS. */
static bool has_password(const char *url)
{
	const char *begin = strstr(url, "://") + 3;

	return memchr(begin, '@', strcspn(begin, "/?#")) != NULL;
}

static void smtp_run(struct trip *trip)
{
	const char *url = trip->courier->alerts->smtp;
	struct upload upload = { trip->text, false };
	struct curl_slist *to = curl_slist_append(NULL, trip->to);
	char from[300];
	CURL *curl = curl_easy_init();

	if (!curl || !to) {
		fail(trip, "out of memory");
		curl_slist_free_all(to);
		curl_easy_cleanup(curl);
		return;
	}
	mail_from(trip->text, from);
	curl_prepare(curl, url);
	curl_easy_setopt(curl, CURLOPT_MAIL_FROM, from);
	curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, upload_read);
	curl_easy_setopt(curl, CURLOPT_READDATA, &upload);
	if (strncmp(url, "smtp:", 5) == 0 && has_password(url)) {
		curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)CURLUSESSL_ALL);
	} else if (strncmp(url, "smtp:", 5) == 0) {
		/* TLS where the server has it, as between mail servers: RFC 7435 */
		curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)CURLUSESSL_TRY);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	CURLcode code = curl_easy_perform(curl);
	trip->result.is_done = code == CURLE_OK;
	if (code != CURLE_OK)
		fail(trip, "the mail server: %s", curl_easy_strerror(code));
	curl_slist_free_all(to);
	curl_easy_cleanup(curl);
}

void courier_sign(const char *secret, size_t secret_len, const char *body, char hex[65])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	HMAC(EVP_sha256(), secret, (int)secret_len, (const unsigned char *)body, strlen(body), digest, &len);
	for (unsigned i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* The secret is what the file holds, without the line's end. Returns its length or -1. */
static ssize_t secret_read(const char *path, char secret[SECRET_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, secret, SECRET_MAX);

	if (fd >= 0)
		close(fd);
	while (len > 0 && (secret[len - 1] == '\n' || secret[len - 1] == '\r'))
		len--;
	return len;
}

static struct curl_slist *webhook_headers(const struct trip *trip)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	const char *path = trip->courier->alerts->webhook_secret;
	char secret[SECRET_MAX], hex[65], line[128];

	snprintf(line, sizeof line, "X-Usher-Id: %s", trip->job.id);
	headers = curl_slist_append(headers, line);
	headers = curl_slist_append(headers, "Expect:");
	if (*path == '\0')
		return headers;
	ssize_t len = secret_read(path, secret);
	if (len <= 0) {
		curl_slist_free_all(headers);
		return NULL;
	}
	courier_sign(secret, (size_t)len, trip->text, hex);
	snprintf(line, sizeof line, "X-Usher-Signature: sha256=%s", hex);
	return curl_slist_append(headers, line);
}

static void webhook_run(struct trip *trip)
{
	struct curl_slist *headers = webhook_headers(trip);
	CURL *curl = headers ? curl_easy_init() : NULL;
	long status = 0;

	if (!curl) {
		fail(trip,
		        headers ? "out of memory" : "the file of webhook-secret cannot be read, or is empty");
		curl_slist_free_all(headers);
		return;
	}
	curl_prepare(curl, trip->to);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, trip->text);
	CURLcode code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	trip->result.is_done = code == CURLE_OK && status >= 200 && status < 300;
	if (code != CURLE_OK)
		fail(trip, "the webhook: %s", curl_easy_strerror(code));
	else if (!trip->result.is_done)
		fail(trip, "the webhook answered %ld", status);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
}

/* ---- trips ---- */

static void syslog_run(struct trip *trip)
{
	syslog(LOG_DAEMON | LOG_WARNING, "%s", trip->text);
	trip->result.is_done = true;
}

static void mail_run(struct trip *trip)
{
	if (trip->courier->alerts->smtp[0] != '\0')
		smtp_run(trip);
	else
		sendmail_run(trip);
}

static void (*const runs[])(struct trip *trip) = {
	[COURIER_MAIL] = mail_run,
	[COURIER_WEBHOOK] = webhook_run,
	[COURIER_SYSLOG] = syslog_run,
};

static void *trip_main(void *arg)
{
	struct trip *trip = arg;
	struct courier *courier = trip->courier;

	runs[trip->job.channel](trip);
	pthread_mutex_lock(&courier->lock);
	trip->next = courier->back;
	courier->back = trip;
	eventfd_write(courier->fd, 1);
	pthread_mutex_unlock(&courier->lock);
	return NULL;
}

static void trip_free(struct trip *trip)
{
	if (!trip)
		return;
	free(trip->to);
	free(trip->text);
	free(trip);
}

static struct trip *trip_new(struct courier *courier, const struct courier_job *job)
{
	struct trip *trip = calloc(1, sizeof *trip);

	if (!trip)
		return NULL;
	trip->courier = courier;
	trip->job = *job;
	memcpy(trip->result.id, job->id, sizeof trip->result.id);
	trip->to = strdup(job->to);
	trip->text = strdup(job->text);
	if (trip->to && trip->text)
		return trip;
	trip_free(trip);
	return NULL;
}

int courier_send(struct courier *courier, const struct courier_job *job)
{
	pthread_attr_t attributes;
	pthread_t thread;

	if (courier_busy(courier) >= BUSY_MAX)
		return -EAGAIN;
	struct trip *trip = trip_new(courier, job);
	if (!trip)
		return -ENOMEM;
	pthread_mutex_lock(&courier->lock);
	courier->busy++;
	pthread_mutex_unlock(&courier->lock);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	int ret = -pthread_create(&thread, &attributes, trip_main, trip);
	pthread_attr_destroy(&attributes);
	if (ret < 0) {
		pthread_mutex_lock(&courier->lock);
		courier->busy--;
		pthread_mutex_unlock(&courier->lock);
		trip_free(trip);
	}
	return ret;
}

bool courier_take(struct courier *courier, struct courier_result *result)
{
	eventfd_t count;

	pthread_mutex_lock(&courier->lock);
	struct trip *trip = courier->back;
	if (trip) {
		courier->back = trip->next;
		courier->busy--;
	} else {
		eventfd_read(courier->fd, &count);
	}
	pthread_mutex_unlock(&courier->lock);
	if (!trip)
		return false;
	*result = trip->result;
	trip_free(trip);
	return true;
}

unsigned courier_busy(const struct courier *courier)
{
	struct courier *locked = (struct courier *)courier;

	pthread_mutex_lock(&locked->lock);
	unsigned busy = courier->busy;
	pthread_mutex_unlock(&locked->lock);
	return busy;
}

int courier_fd(const struct courier *courier)
{
	return courier->fd;
}

struct courier *courier_new(const struct config_alerts *alerts)
{
	struct courier *courier = calloc(1, sizeof *courier);

	if (!courier)
		return NULL;
	courier->alerts = alerts;
	courier->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (courier->fd < 0) {
		free(courier);
		return NULL;
	}
	pthread_mutex_init(&courier->lock, NULL);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	return courier;
}
