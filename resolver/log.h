/*
 * Words for the administrator: one line on stderr each, with a syslog priority prefix when stderr is the journal
 * (sd-daemon(3), JOURNAL_STREAM set). Never a pupil's name or a question.
 */
#ifndef USHER_LOG_H
#define USHER_LOG_H

/* Named once at start: "usherd", "usherd: recursor". program must outlive the process. */
void log_start(const char *program);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One clear sentence and exit 1: at start only. */
_Noreturn void log_fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
