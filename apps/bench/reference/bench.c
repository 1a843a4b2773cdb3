// netmem's hot paths in C, for comparison: the same steps, checks and data, gcc -O2. Not a kernel.
// For each line "ops" on stdin it runs the workload named by the first argument and answers the nanoseconds it took.
#define _POSIX_C_SOURCE 200809L
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mm.h"
#include "page_pool.h"
#include "xdp.h"
#include "skb.h"

static void run(const char *name, long ops) {
  if (!strcmp(name, "mm-pcp")) {
    for (long i = 0; i < ops; i++) put_page(alloc_page(GFP_HIGH | GFP_KSWAPD));
  } else if (!strcmp(name, "mm-bulk64")) {
    static struct page *out[64];
    for (long i = 0; i < ops; i += 64) {
      alloc_bulk(GFP_HIGH | GFP_KSWAPD, 64, out);
      for (int j = 0; j < 64; j++) {
        put_page(out[j]);
        out[j] = NULL;
      }
    }
  } else if (!strcmp(name, "mm-map")) {
    static struct page *pages[256];
    for (int i = 0; i < 256; i++) if (!pages[i]) pages[i] = alloc_page(GFP_HIGH | GFP_KSWAPD);
    for (long i = 0; i < ops; i++) {
      int64_t addr = dma_map(pages[i & 255], 0, 4096, 2);
      if (addr == -1) abort();
      dma_unmap(addr, 4096);
    }
  } else if (!strcmp(name, "w1")) {
    for (long i = 0; i < ops; i++) pool_put(pool, pool_alloc(pool), -1, true);
  } else if (!strcmp(name, "w2")) {
    for (long i = 0; i < ops; i++) pool_put(pool, pool_alloc(pool), -1, false);
  } else if (!strcmp(name, "w3")) {
    for (long i = 0; i < ops; i++) {
      struct page *page = pool_alloc(pool);
      get_page(page);
      pool_put(pool, page, -1, false);
      put_page(page);
    }
  } else if (!strncmp(name, "w4-", 3)) {
    for (long i = 0; i < ops; i++) skb_receive();
  } else if (!strcmp(name, "w6")) {
    for (long i = 0; i < ops; i++) split_receive();
  } else if (!strcmp(name, "w5-drop")) {
    for (long i = 0; i < ops; i++) xdp_receive(drop_udp);
  } else if (!strcmp(name, "w5-tx")) {
    for (long i = 0; i < ops; i++) xdp_receive(swap_macs);
  } else {
    fprintf(stderr, "bench: no workload %s\n", name);
    exit(2);
  }
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "bench: give the name of a workload\n");
    return 2;
  }
  mm_set_up();
  pool_set_up();
  if (!strncmp(argv[1], "w5-", 3)) xdp_set_up();
  if (!strncmp(argv[1], "w4-", 3)) skb_set_up((uint32_t)atoi(argv[1] + 3));
  if (!strcmp(argv[1], "w6")) {
    skb_set_up(64);
    split_set_up();
  }
  long ops;
  while (scanf("%ld", &ops) == 1) {
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    run(argv[1], ops);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%lld\n", (end.tv_sec - begin.tv_sec) * 1000000000LL + (end.tv_nsec - begin.tv_nsec));
    fflush(stdout);
  }
  return 0;
}
