// The page allocator and an I/O page table: one zone, one CPU.

enum { NR_PAGES = 65536, MAX_ORDER = 10, BATCH = 63, HIGH = 512, SCALE_MAX = 5, FIRST_PFN = 1024 };
enum { IN_USE, BUDDY, PART, BAD, SLAB, PCP };
enum { GFP_HIGH = 1, GFP_KSWAPD = 2, GFP_ZERO = 1 << 14, GFP_BITS = (1 << 19) - 1 };
enum { BUDDY_CLAIMS = 0x10011, PCP_CLAIMS = 0x22 };

struct page {
  uint32_t pfn;
  uint8_t state, order;
  int refcount;
  struct page *head, *next, *prev;
  uint32_t claims, pp_magic, pp_dma_index, mem_type, mem_id, pool_state;
  long pp_ref_count;
  int nid;
  void *pp;
  uint64_t dma_addr;
};

struct list { struct page *head, *tail; };

struct zone {
  long free, mark_low, mark_high, lowmem_reserve, free_highatomic;
  bool below_high;
  struct list area[MAX_ORDER + 1];
  int nr_free[MAX_ORDER + 1];
  struct list pcp;
  int count, high, alloc_factor, free_count;
  long hits, allocs, frees;
};

static struct page mem_map[NR_PAGES];
static struct zone zone;

static void list_push(struct list *list, struct page *page) {
  page->prev = NULL;
  page->next = list->head;
  if (list->head) list->head->prev = page; else list->tail = page;
  list->head = page;
}

static void list_append(struct list *list, struct page *page) {
  page->next = NULL;
  page->prev = list->tail;
  if (list->tail) list->tail->next = page; else list->head = page;
  list->tail = page;
}

static void list_remove(struct list *list, struct page *page) {
  if (page->prev) page->prev->next = page->next; else list->head = page->next;
  if (page->next) page->next->prev = page->prev; else list->tail = page->prev;
  page->next = page->prev = NULL;
}

static void add_free(struct page *page, int order, bool tail) {
  page->state = BUDDY;
  page->order = order;
  page->claims = BUDDY_CLAIMS;
  if (tail) list_append(&zone.area[order], page); else list_push(&zone.area[order], page);
  zone.nr_free[order]++;
  zone.free += 1L << order;
}

static void del_free(struct page *page, int order) {
  list_remove(&zone.area[order], page);
  page->state = PART;
  page->order = 0;
  page->claims = 0;
  zone.nr_free[order]--;
  zone.free -= 1L << order;
}

static struct page *buddy_of(struct page *page, int order) {
  size_t index = (size_t)(page - mem_map) ^ (1UL << order);
  struct page *buddy = mem_map + index;
  return index < NR_PAGES && buddy->state == BUDDY && buddy->order == order ? buddy : NULL;
}

static struct page *take_smallest(int order) {
  for (int current = order; current <= MAX_ORDER; current++) {
    struct page *page = zone.area[current].head;
    if (!page) continue;
    del_free(page, current);
    while (current > order) {
      current--;
      add_free(page + (1 << current), current, false);
    }
    return page;
  }
  return NULL;
}

static void free_one(struct page *page, int order) {
  while (order < MAX_ORDER) {
    struct page *buddy = buddy_of(page, order);
    if (!buddy) break;
    del_free(buddy, order);
    if (buddy < page) {
      page->state = PART;
      page = buddy;
    }
    order++;
  }
  bool tail = false;
  if (order <= MAX_ORDER - 2) {
    size_t pair = (size_t)(page - mem_map) & ~(1UL << order);
    tail = buddy_of(mem_map + pair, order + 1) != NULL;
  }
  add_free(page, order, tail);
}

static void drain(int pages) {
  while (pages-- > 0 && zone.pcp.tail) {
    struct page *page = zone.pcp.tail;
    list_remove(&zone.pcp, page);
    page->claims = 0;
    page->state = PART;
    zone.count--;
    free_one(page, 0);
  }
}

static bool mark_ok(long mark) {
  return zone.free - zone.free_highatomic > mark + zone.lowmem_reserve;
}

static bool may_take(void) {
  if (!zone.below_high) {
    if (mark_ok(zone.mark_high)) return true;
    zone.below_high = true;
  }
  return mark_ok(zone.mark_low);
}

static int nr_alloc(void) {
  int batch = BATCH << zone.alloc_factor;
  int most = HIGH - zone.count - BATCH;
  if (most < BATCH) most = BATCH;
  if (batch <= most && zone.alloc_factor < SCALE_MAX) zone.alloc_factor++;
  return batch < most ? batch : most;
}

static struct page *pcp_take(void) {
  if (!zone.pcp.head) {
    int batch = nr_alloc();
    for (int i = 0; i < batch; i++) {
      struct page *page = take_smallest(0);
      if (!page) break;
      page->state = PCP;
      page->claims = PCP_CLAIMS;
      list_append(&zone.pcp, page);
      zone.count++;
    }
    if (!zone.pcp.head) return NULL;
  }
  struct page *page = zone.pcp.head;
  list_remove(&zone.pcp, page);
  page->claims = 0;
  zone.count--;
  return page;
}

static bool bad_new(const struct page *page) {
  return (page->claims | (uint32_t)page->refcount | page->pp_magic | page->pp_ref_count | (uint32_t)page->dma_addr) != 0 || page->pp;
}

static void prepare(struct page *page, int gfp) {
  zone.allocs++;
  page->refcount = 1;
  page->state = IN_USE;
  page->order = 0;
  page->pp_magic = 0;
  if (gfp & GFP_ZERO) abort();
}

// Not inlined: a caller outside sees a call, as drivers do.
static __attribute__((noinline)) struct page *alloc_page(int gfp) {
  if (gfp & ~GFP_BITS) abort();
  if (!may_take()) return NULL;
  zone.free_count >>= 1;
  struct page *page;
  do {
    page = pcp_take();
    if (!page) return NULL;
  } while (bad_new(page));
  zone.hits++;
  prepare(page, gfp);
  return page;
}

static void pcp_put(struct page *page) {
  page->state = PCP;
  page->claims = PCP_CLAIMS;
  list_push(&zone.pcp, page);
  zone.count++;
  zone.alloc_factor >>= 1;
  if (zone.free_count < BATCH << SCALE_MAX) zone.free_count++;
  if (zone.count < HIGH) return;
  int batch = zone.free_count;
  if (batch < BATCH) batch = BATCH;
  if (batch > HIGH - BATCH) batch = HIGH - BATCH;
  drain(batch);
  if (zone.below_high && mark_ok(zone.mark_high)) zone.below_high = false;
}

static bool free_prepare(struct page *page) {
  if (page->refcount || page->order || page->head != page || page->state != IN_USE) return false;
  if (page->claims | page->pp_magic | page->pp_ref_count) return false;
  page->pp_magic = 0;
  page->order = 0;
  return true;
}

static __attribute__((noinline)) void put_page(struct page *page) {
  struct page *head = page->head;
  if (head->state == SLAB) return;
  if (head->refcount <= 0) abort();
  if (--head->refcount) return;
  if (!free_prepare(head)) abort();
  zone.frees++;
  pcp_put(head);
}

static __attribute__((noinline)) int alloc_bulk(int gfp, int n, struct page **out) {
  int filled = 0;
  while (filled < n && out[filled]) filled++;
  if (!mark_ok(zone.mark_low + n)) return filled;
  while (filled < n) {
    if (out[filled]) {
      filled++;
      continue;
    }
    struct page *page = pcp_take();
    if (!page) break;
    if (bad_new(page)) continue;
    prepare(page, gfp);
    out[filled++] = page;
    zone.hits++;
  }
  return filled;
}

// The I/O page table of one device: addresses of single pages come from a queue and go back to its end.
enum { APERTURE = 81984, MULTI = APERTURE - APERTURE / 8 };
static uint8_t prot[APERTURE];
static int32_t offset_of[APERTURE];
static uint16_t region_of[APERTURE];
static int32_t singles[MULTI];
static int singles_head, singles_count;
static long live, maps, unmaps;
static uint64_t mask = UINT64_MAX;

static __attribute__((noinline)) int64_t dma_map(struct page *page, int offset, int size, int direction) {
  if (direction < 0 || direction > 2 || !mask) abort();
  int64_t start = ((int64_t)(page->pfn - FIRST_PFN) << 12) + offset;
  if (size <= 0 || start < 0 || start + size > (int64_t)NR_PAGES << 12) return -1;
  int in_page = start & 4095;
  int pages = (in_page + size + 4095) >> 12;
  if (pages != 1 || !singles_count) return -1;
  int first = singles[singles_head];
  singles_head = singles_head + 1 == MULTI ? 0 : singles_head + 1;
  singles_count--;
  prot[first] = direction == 1 ? 1 : direction == 2 ? 2 : 3;
  offset_of[first] = (int32_t)(start - in_page);
  region_of[first] = 0;
  live++;
  maps++;
  return (int64_t)first << 12 | in_page;
}

static __attribute__((noinline)) void dma_unmap(int64_t addr, int size) {
  int first = (int)(addr >> 12);
  if (addr <= 0 || addr >= (int64_t)APERTURE << 12 || !prot[first]) abort();
  int pages = ((int)(addr & 4095) + size + 4095) >> 12;
  for (int i = 0; i < pages; i++) prot[first + i] = 0;
  singles[(singles_head + singles_count) % MULTI] = first;
  singles_count++;
  live--;
  unmaps++;
}

static void mm_set_up(void) {
  for (int i = 0; i < NR_PAGES; i++) mem_map[i] = (struct page){.pfn = FIRST_PFN + i, .state = PART, .head = &mem_map[i]};
  for (int i = 0; i < NR_PAGES; i += 1 << MAX_ORDER) add_free(&mem_map[i], MAX_ORDER, true);
  zone.mark_low = 640;
  zone.mark_high = 768;
  zone.high = HIGH;
  for (int i = 1; i < MULTI; i++) singles[singles_count++] = i;
}
