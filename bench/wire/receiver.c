/*
 * A very cheap HTTP server on loopback: takes deliveries, notes when each run id came first, and answers for Skyvern's
 * API.
 *
 *   receiver [--status 200]      prints {"port":N}; ends on SIGTERM
 *
 * POST anything        counted; every run id in it is noted; answered with the status
 * GET /bench/count     {"posts","ids","again","gets"}: posts, different ids, ids that had come before, other GETs
 * GET /bench/times     for each id, in order, when it came first (CLOCK_MONOTONIC, ns, 8 bytes little-endian; 0: never)
 * GET anything else    []
 */
#define _GNU_SOURCE
#include "wire.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_IDS 20000000u

typedef struct {
  int fd;
  size_t size, room;
  char *data;
} connection;

static uint64_t *first_seen;
static uint64_t ids, again, posts, gets, highest;
static const char *status_line = "200 OK";

static void note_ids(const char *body, size_t size) {
  uint64_t now = now_ns(), last = UINT64_MAX;
  const char *end = body + size;
  for (const char *at = memmem(body, size, MARK, MARK_LENGTH); at; at = memmem(at, (size_t)(end - at), MARK, MARK_LENGTH)) {
    at += MARK_LENGTH;
    if (end - at < SEQ_DIGITS) return;
    uint64_t seq = 0;
    int digits = 0;
    for (; digits < SEQ_DIGITS && at[digits] >= '0' && at[digits] <= '9'; digits++) seq = seq * 10 + (uint64_t)(at[digits] - '0');
    if (digits < SEQ_DIGITS || seq == last || seq >= MAX_IDS) continue;
    last = seq;
    if (first_seen[seq] == 0) {
      first_seen[seq] = now;
      ids++;
      if (seq > highest) highest = seq;
    } else if (first_seen[seq] != now) again++;
  }
}

/* Small answers fit the socket's buffer; the times do not, and are written with the socket blocking. */
static void send_all(int fd, const char *data, size_t size) {
  int flags = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  while (size > 0) {
    ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
    if (n <= 0) break;
    data += n;
    size -= (size_t)n;
  }
  fcntl(fd, F_SETFL, flags);
}

static void respond(int fd, const char *status, const char *body, size_t size) {
  char head[160];
  int length = snprintf(head, sizeof head, "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n", status, size);
  if (size < 256) {
    char whole[512];
    memcpy(whole, head, (size_t)length);
    memcpy(whole + length, body, size);
    if (send(fd, whole, (size_t)length + size, MSG_NOSIGNAL) < 0) return;
    return;
  }
  send_all(fd, head, (size_t)length);
  send_all(fd, body, size);
}

static void handle(connection *c, size_t body, size_t size) {
  if (strncmp(c->data, "POST ", 5) == 0) {
    posts++;
    note_ids(c->data + body, size - body);
    respond(c->fd, status_line, "", 0);
  } else if (strncmp(c->data, "GET /bench/count", 16) == 0) {
    char text[200];
    int n = snprintf(text, sizeof text, "{\"posts\":%lu,\"ids\":%lu,\"again\":%lu,\"gets\":%lu}", posts, ids, again, gets);
    respond(c->fd, "200 OK", text, (size_t)n);
  } else if (strncmp(c->data, "GET /bench/times", 16) == 0) {
    respond(c->fd, "200 OK", (const char *)first_seen, (highest + 1) * sizeof *first_seen);
  } else {
    gets++;
    respond(c->fd, "200 OK", "[]", 2);
  }
}

/* 0 when the connection is over. */
static int read_some(connection *c) {
  for (;;) {
    if (c->size == c->room) c->data = realloc(c->data, c->room *= 2);
    ssize_t n = recv(c->fd, c->data + c->size, c->room - c->size, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return 0;
    if (n < 0) return 1;
    c->size += (size_t)n;
    size_t body, whole;
    while (c->size > 0 && (whole = message_size(c->data, c->size, &body)) > 0) {
      handle(c, body, whole);
      c->size -= whole;
      memmove(c->data, c->data + whole, c->size);
    }
  }
}

int main(int argc, char **argv) {
  for (int i = 1; i + 1 < argc; i += 2) if (strcmp(argv[i], "--status") == 0) status_line = argv[i + 1];
  first_seen = calloc(MAX_IDS, sizeof *first_seen);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  if (bind(listener, (void *)&address, length) < 0 || listen(listener, 1024) < 0) die("receiver: listen");
  getsockname(listener, (void *)&address, &length);
  printf("{\"port\":%d}\n", ntohs(address.sin_port));
  fflush(stdout);
  int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[128];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int n = epoll_wait(epoll, events, 128, -1);
    for (int i = 0; i < n; i++) {
      connection *c = events[i].data.ptr;
      if (c) {
        if (read_some(c)) continue;
        close(c->fd);
        free(c->data);
        free(c);
        continue;
      }
      int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
      if (fd < 0) continue;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
      c = calloc(1, sizeof *c);
      c->fd = fd;
      c->data = malloc(c->room = 16384);
      event = (struct epoll_event){.events = EPOLLIN, .data.ptr = c};
      epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
  }
}
