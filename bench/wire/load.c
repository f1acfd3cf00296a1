/*
 * A load client that costs a few microseconds a request. Every body is unique and signed, every answer is checked.
 *
 *   load --port N --path /webhook --bodies FILE --seconds S --first SEQ
 *        [--connections 64] [--rate N] [--key HMAC_KEY] [--expect TEXT] [--echo 1] [--times FILE] [--outlive 1]
 *
 * FILE holds bodies, each after its length (4 bytes, little-endian), with 18 x @ where the run id's digits belong;
 * these stand near the end, so that the beginning's part of the signature is computed once. --rate sends at fixed times
 * whatever comes back, and counts latency from the planned time; without it each connection sends when it has its
 * answer. --expect: text that every answer must hold, besides status 200; --echo 1: the run id too. --outlive 1: ends
 * when nobody listens any more.
 *
 * Prints one line of JSON. --times: for each body sent when it was sent and when its right answer came (ns, 0: never).
 */
#define _GNU_SOURCE
#include "sha256.h"
#include "wire.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOT "@@@@@@@@@@@@@@@@@@"
#define SLOT_LENGTH 18
#define MAX_SLOTS 8
#define MAX_REQUESTS 12000000u
#define DRAIN_NS 30000000000u
#define MAX_ANSWER 16384

typedef struct {
  const char *text;
  uint32_t size, slots[MAX_SLOTS], slot_count;
  /* Bytes in `inner`: all whole blocks before the first slot. */
  uint32_t hashed;
  sha256 inner;
} body;

typedef struct {
  int fd, busy;
  size_t out_size, out_at, in_size;
  uint64_t seq, since;
  char *out;
  char in[MAX_ANSWER];
} connection;

static struct {
  int port, connections, echo, outlive;
  const char *path, *bodies, *key, *expect, *times;
  double seconds, rate;
  uint64_t first;
} options = {.connections = 64, .path = "/", .expect = "", .seconds = 1};

static body *bodies;
static uint32_t body_count, largest;
static sha256 key_outer;
static int epoll;
static uint64_t sent, answered, right, in_time, wrong, failed, deadline, started, ended;
static uint64_t statuses[600];
static uint32_t *latencies;
static uint64_t *times;
static char example[300];

static void read_bodies(void) {
  FILE *file = fopen(options.bodies, "rb");
  if (!file) die("load: bodies");
  fseek(file, 0, SEEK_END);
  size_t size = (size_t)ftell(file);
  rewind(file);
  char *all = malloc(size);
  if (fread(all, 1, size, file) != size) die("load: bodies");
  fclose(file);
  sha256 inner;
  if (options.key) hmac_key(options.key, &inner, &key_outer);
  for (size_t at = 0; at + 4 <= size;) {
    uint32_t length;
    memcpy(&length, all + at, 4);
    bodies = realloc(bodies, (body_count + 1) * sizeof *bodies);
    body *b = &bodies[body_count++];
    *b = (body){.text = all + at + 4, .size = length};
    for (const char *p = b->text; (p = memmem(p, (size_t)(b->text + length - p), SLOT, SLOT_LENGTH)) && b->slot_count < MAX_SLOTS; p += SLOT_LENGTH)
      b->slots[b->slot_count++] = (uint32_t)(p - b->text);
    if (b->slot_count == 0) exit((fprintf(stderr, "load: a body without a slot for its id\n"), 1));
    if (options.key) {
      b->hashed = b->slots[0] & ~63u;
      b->inner = inner;
      sha256_add(&b->inner, b->text, b->hashed);
    }
    if (length > largest) largest = length;
    at += 4 + length;
  }
}

static void prepare(connection *c) {
  body *b = &bodies[c->seq % body_count];
  char id[SLOT_LENGTH + 1];
  snprintf(id, sizeof id, MARK "%09lu", c->seq);
  char *head = c->out;
  int length = sprintf(head, "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\ncontent-length: %u\r\n", options.path, options.port, b->size);
  int signature_at = 0;
  if (options.key) {
    length += sprintf(head + length, "x-skyvern-timestamp: 1790000000\r\nx-skyvern-signature: ");
    signature_at = length;
    length += sprintf(head + length, "%064d\r\n", 0);
  }
  length += sprintf(head + length, "\r\n");
  char *text = head + length;
  memcpy(text, b->text, b->size);
  for (uint32_t i = 0; i < b->slot_count; i++) memcpy(text + b->slots[i], id, SLOT_LENGTH);
  if (options.key) {
    sha256 inner = b->inner, outer = key_outer;
    uint8_t digest[32];
    sha256_add(&inner, text + b->hashed, b->size - b->hashed);
    sha256_end(&inner, digest);
    sha256_add(&outer, digest, 32);
    sha256_end(&outer, digest);
    for (int i = 0; i < 32; i++) {
      head[signature_at + 2 * i] = "0123456789abcdef"[digest[i] >> 4];
      head[signature_at + 2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
  }
  c->out_size = (size_t)length + b->size;
  c->out_at = 0;
}

static void watch(connection *c, int operation, uint32_t for_what) {
  struct epoll_event event = {.events = for_what, .data.ptr = c};
  epoll_ctl(epoll, operation, c->fd, &event);
}

static void open_connection(connection *c) {
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)options.port)};
  if (connect(c->fd, (void *)&address, sizeof address) < 0) {
    if (!options.outlive) die("load: connect");
    /* The one under load was ended: nothing more is sent. */
    deadline = now_ns();
    close(c->fd);
    c->fd = -1;
    return;
  }
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void reopen(connection *c) {
  close(c->fd);
  open_connection(c);
  c->in_size = 0;
  c->busy = 0;
}

static void push(connection *c) {
  while (c->out_at < c->out_size) {
    ssize_t n = send(c->fd, c->out + c->out_at, c->out_size - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    /* The other end has closed; reading says so. */
    if (n < 0) return;
    c->out_at += (size_t)n;
  }
}

static void send_next(connection *c, uint64_t since) {
  if (sent >= MAX_REQUESTS) exit((fprintf(stderr, "load: too many requests for one run\n"), 1));
  c->seq = options.first + sent++;
  c->since = since;
  c->busy = 1;
  c->in_size = 0;
  prepare(c);
  times[2 * (c->seq - options.first)] = now_ns();
  push(c);
}

static int is_right(connection *c, int status, size_t from) {
  if (status != 200) return 0;
  if (!memmem(c->in + from, c->in_size - from, options.expect, strlen(options.expect))) return 0;
  if (!options.echo) return 1;
  char id[SLOT_LENGTH + 1];
  snprintf(id, sizeof id, MARK "%09lu", c->seq);
  return memmem(c->in + from, c->in_size - from, id, SLOT_LENGTH) != NULL;
}

static void note_example(connection *c) {
  if (example[0]) return;
  size_t n = 0;
  for (size_t i = 0; i < c->in_size && n < sizeof example - 1; i++) {
    char byte = c->in[i];
    example[n++] = byte < ' ' || byte == '"' || byte == '\\' || byte > '~' ? ' ' : byte;
  }
}

/* 1 when a whole answer has come. */
static int take_answer(connection *c) {
  ssize_t n = recv(c->fd, c->in + c->in_size, MAX_ANSWER - c->in_size, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return 0;
  if (n <= 0) {
    if (c->busy) failed++;
    reopen(c);
    return 1;
  }
  c->in_size += (size_t)n;
  size_t from;
  if (!c->busy || message_size(c->in, c->in_size, &from) == 0) return 0;
  uint64_t now = now_ns();
  int status = c->in_size > 12 ? atoi(c->in + 9) : 0;
  statuses[status > 0 && status < 600 ? status : 0]++;
  if (is_right(c, status, from)) {
    right++;
    if (now <= deadline) in_time++;
    times[2 * (c->seq - options.first) + 1] = now;
  } else {
    wrong++;
    note_example(c);
  }
  latencies[answered++] = (uint32_t)((now - c->since) / 1000);
  ended = now;
  c->busy = 0;
  const char *connection_header = header_value(c->in, from, "connection");
  if (connection_header && strncasecmp(connection_header, " close", 6) == 0) reopen(c);
  return 1;
}

static int by_value(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static double percentile_ms(double p) {
  if (answered == 0) return 0;
  uint64_t at = (uint64_t)(p * (double)answered);
  return latencies[at < answered ? at : answered - 1] / 1000.0;
}

static void report(void) {
  qsort(latencies, answered, sizeof *latencies, by_value);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
  double window = (double)(deadline - started) / 1e9;
  printf("{\"sent\":%lu,\"answered\":%lu,\"right\":%lu,\"wrong\":%lu,\"failed\":%lu,\"unanswered\":%lu,", sent, answered, right, wrong, failed, sent - answered - failed);
  printf("\"perSecond\":%.1f,\"seconds\":%.3f,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f,", (double)in_time / window,
         (double)(ended - started) / 1e9, percentile_ms(0.5), percentile_ms(0.9), percentile_ms(0.99), percentile_ms(0.999), percentile_ms(1));
  printf("\"clientCpuMs\":%.1f,\"example\":\"%s\",\"statuses\":{", cpu, example);
  const char *comma = "";
  for (int i = 0; i < 600; i++) if (statuses[i]) printf("%s\"%d\":%lu", comma, i, statuses[i]), comma = ",";
  printf("}}\n");
  if (!options.times) return;
  FILE *file = fopen(options.times, "wb");
  if (!file || fwrite(times, 2 * sizeof *times, sent, file) != sent || fclose(file) != 0) die("load: times");
}

static void parse(int argc, char **argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const char *name = argv[i], *value = argv[i + 1];
    if (!strcmp(name, "--port")) options.port = atoi(value);
    else if (!strcmp(name, "--path")) options.path = value;
    else if (!strcmp(name, "--bodies")) options.bodies = value;
    else if (!strcmp(name, "--seconds")) options.seconds = atof(value);
    else if (!strcmp(name, "--first")) options.first = strtoul(value, NULL, 10);
    else if (!strcmp(name, "--connections")) options.connections = atoi(value);
    else if (!strcmp(name, "--rate")) options.rate = atof(value);
    else if (!strcmp(name, "--key")) options.key = value;
    else if (!strcmp(name, "--expect")) options.expect = value;
    else if (!strcmp(name, "--echo")) options.echo = atoi(value);
    else if (!strcmp(name, "--outlive")) options.outlive = atoi(value);
    else if (!strcmp(name, "--times")) options.times = value;
    else exit((fprintf(stderr, "load: what is %s?\n", name), 2));
  }
}

int main(int argc, char **argv) {
  parse(argc, argv);
  read_bodies();
  latencies = malloc(MAX_REQUESTS * sizeof *latencies);
  times = calloc(2 * MAX_REQUESTS, sizeof *times);
  epoll = epoll_create1(0);
  connection *all = calloc((size_t)options.connections, sizeof *all);
  for (int i = 0; i < options.connections; i++) {
    all[i].out = malloc(largest + 1024);
    open_connection(&all[i]);
  }
  started = ended = now_ns();
  deadline = started + (uint64_t)(options.seconds * 1e9);
  uint64_t planned = 0;
  struct epoll_event events[256];
  for (;;) {
    uint64_t now = now_ns();
    int busy = 0, wait_ms = 100;
    if (now < deadline) {
      for (int i = 0; i < options.connections; i++) {
        if (all[i].busy) continue;
        if (options.rate == 0) send_next(&all[i], now);
        else {
          uint64_t due = started + (uint64_t)((double)planned * 1e9 / options.rate);
          if (due > now) break;
          planned++;
          send_next(&all[i], due);
        }
      }
      if (options.rate > 0) wait_ms = 1;
    }
    for (int i = 0; i < options.connections; i++) busy += all[i].busy;
    if (now >= deadline && (busy == 0 || now > deadline + DRAIN_NS)) break;
    int n = epoll_wait(epoll, events, 256, wait_ms);
    for (int i = 0; i < n; i++) {
      connection *c = events[i].data.ptr;
      if (events[i].events & EPOLLOUT) {
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
        push(c);
      }
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) take_answer(c);
    }
  }
  report();
  return 0;
}
