/* What the load client and the receiver share: time, HTTP framing, run ids. Linux only. */
#ifndef WIRE_H
#define WIRE_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/*
 * Every run id ends in MARK and SEQ_DIGITS digits that count the bodies: an id found anywhere says which body it was.
 */
#define MARK "777777777"
#define MARK_LENGTH 9
#define SEQ_DIGITS 9

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void die(const char *what) {
  perror(what);
  exit(1);
}

static inline const char *header_value(const char *head, size_t size, const char *name) {
  size_t length = strlen(name);
  const char *end = head + size;
  for (const char *line = memchr(head, '\n', size); line && (size_t)(end - line) > length + 2; line = memchr(line + 1, '\n', end - line - 1))
    if (strncasecmp(line + 1, name, length) == 0 && line[1 + length] == ':') return line + 2 + length;
  return NULL;
}

/* Whole bytes of the message that starts at `data`, 0 when it is not complete yet. `*body` is where its body begins. */
static inline size_t message_size(const char *data, size_t size, size_t *body) {
  const char *gap = memmem(data, size, "\r\n\r\n", 4);
  if (!gap) return 0;
  size_t head = (size_t)(gap - data) + 4;
  *body = head;
  const char *length = header_value(data, head, "content-length");
  if (length) {
    size_t whole = head + strtoul(length, NULL, 10);
    return size >= whole ? whole : 0;
  }
  if (header_value(data, head, "transfer-encoding")) {
    const char *last = memmem(data + head - 2, size - head + 2, "\r\n0\r\n\r\n", 7);
    return last ? (size_t)(last - data) + 7 : 0;
  }
  return head;
}
#endif
