// One page_pool: cache, ptr_ring, counters, and the marks it leaves on pages.

enum { CACHE_SIZE = 128, CACHE_REFILL = 64, RING_SIZE = 1024, RING_BATCH = 16, POOL_CLAIMS = 0x33033, POOL_WORDS = 0xff0ff };
enum { PP_SIGNATURE = 0x40, PFMEMALLOC = 2, PROCESS = 0, SOFTIRQ = 1, HARDIRQ = 2 };

struct context { int cpu, level, node; };
struct napi { int list_owner; };

struct ring {
  struct page *slots[RING_SIZE];
  int producer, head, tail;
};

struct pool {
  int id, order, nid, cpuid, destroy_cnt;
  uint32_t out_state;
  bool dma_map, dma_sync, direct_needs_softirq, finds_local_puts, waits_for_last, armed;
  uint32_t hold, release;
  struct page *cache[CACHE_SIZE];
  int cache_count, cache_limit;
  struct ring ring;
  struct page *bulk[CACHE_REFILL];
  void *provider, *probe, *init_callback;
  struct napi *napi;
  struct context *context;
  struct { long fast, slow, slow_high_order, empty, refill, waive; } alloc_stats;
  struct { long cached, cache_full, ring, ring_full, released_refcnt; } recycle_stats;
};

static struct context context = {.level = SOFTIRQ};
static struct pool the_pool;
static struct pool *const pool = &the_pool;

static bool ring_produce(struct ring *ring, struct page *page) {
  if (ring->slots[ring->producer]) return false;
  ring->slots[ring->producer] = page;
  ring->producer = ring->producer + 1 == RING_SIZE ? 0 : ring->producer + 1;
  return true;
}

static struct page *ring_consume(struct ring *ring) {
  struct page *page = ring->slots[ring->head];
  if (!page) return NULL;
  int head = ring->head + 1;
  if (head - ring->tail >= RING_BATCH || head == RING_SIZE) {
    for (int i = head - 1; i >= ring->tail; i--) ring->slots[i] = NULL;
    ring->tail = head == RING_SIZE ? 0 : head;
  }
  ring->head = head == RING_SIZE ? 0 : head;
  return page;
}

static void hold_page(struct pool *pool, struct page *page) {
  if (page->claims & POOL_WORDS) abort();
  page->claims = (page->claims & ~POOL_WORDS) | POOL_CLAIMS;
  page->pp = pool;
  page->pp_magic |= PP_SIGNATURE;
  page->pp_ref_count = 1;
  page->pool_state = pool->out_state;
  if (pool->init_callback) abort();
  pool->hold++;
  if (pool->probe) abort();
}

static void return_page(struct pool *pool, struct page *page) {
  if (pool->provider || pool->dma_map) abort();
  pool->release++;
  if (pool->probe) abort();
  page->claims &= ~POOL_WORDS;
  page->dma_addr = 0;
  page->pp_dma_index = 0;
  page->pp_magic = 0;
  page->pp = NULL;
  page->mem_type = page->mem_id = 0;
  page->pp_ref_count = 0;
  page->pool_state = 0;
  put_page(page);
}

static struct page *refill(struct pool *pool) {
  if (!pool->ring.slots[pool->ring.head]) {
    pool->alloc_stats.empty++;
    return NULL;
  }
  int preferred = pool->nid < 0 ? pool->context->node : pool->nid;
  int count = pool->cache_count;
  while (count < CACHE_REFILL) {
    struct page *page = ring_consume(&pool->ring);
    if (!page) break;
    if (page->nid != preferred) {
      return_page(pool, page);
      pool->alloc_stats.waive++;
      break;
    }
    pool->cache[count++] = page;
  }
  if (!count) return NULL;
  pool->alloc_stats.refill++;
  pool->cache_count = --count;
  return pool->cache[count];
}

static struct page *alloc_slow(struct pool *pool) {
  if (pool->order) abort();
  int got = alloc_bulk(GFP_HIGH | GFP_KSWAPD, CACHE_REFILL, pool->bulk);
  int count = 0;
  for (int i = 0; i < got; i++) {
    struct page *page = pool->bulk[i];
    pool->bulk[i] = NULL;
    if (pool->dma_map) abort();
    hold_page(pool, page);
    page->pool_state = pool->out_state + 1;
    pool->cache[count++] = page;
  }
  if (!count) return NULL;
  pool->alloc_stats.slow++;
  pool->cache_count = --count;
  return pool->cache[count];
}

static __attribute__((noinline)) struct page *pool_alloc(struct pool *pool) {
  if (pool->armed) abort();
  struct page *page;
  int count = pool->cache_count;
  if (count > 0) {
    pool->alloc_stats.fast++;
    pool->cache_count = count - 1;
    page = pool->cache[count - 1];
  } else {
    if (pool->destroy_cnt) abort();
    page = refill(pool);
    if (!page) {
      if (pool->provider) abort();
      page = alloc_slow(pool);
    }
  }
  if (page) page->pool_state = pool->out_state;
  return page;
}

static bool may_recycle_direct(struct pool *pool, bool allow_direct) {
  struct context *now = pool->context;
  if (allow_direct) return !pool->direct_needs_softirq || now->level == SOFTIRQ;
  if (!pool->finds_local_puts || now->level != SOFTIRQ) return false;
  return pool->cpuid == now->cpu || (pool->napi && pool->napi->list_owner == now->cpu);
}

static __attribute__((noinline)) void pool_put(struct pool *pool, struct page *page, int sync, bool allow_direct) {
  (void)sync;
  if (page->pool_state != pool->out_state) abort();
  if (page->pp_ref_count != 1) abort();
  bool direct = may_recycle_direct(pool, allow_direct);
  if (pool->context->level == HARDIRQ || pool->waits_for_last) abort();
  if (page->refcount != 1 || (page->pp_magic & PFMEMALLOC)) {
    pool->recycle_stats.released_refcnt++;
    return_page(pool, page);
    return;
  }
  if (pool->dma_sync) abort();
  if (direct) {
    int count = pool->cache_count;
    if (count < pool->cache_limit) {
      pool->cache[count] = page;
      pool->cache_count = count + 1;
      page->pool_state = pool->out_state + 1;
      pool->recycle_stats.cached++;
      return;
    }
    pool->recycle_stats.cache_full++;
  }
  if (ring_produce(&pool->ring, page)) {
    page->pool_state = pool->out_state + 1;
    pool->recycle_stats.ring++;
    return;
  }
  pool->recycle_stats.ring_full++;
  return_page(pool, page);
}

static void get_page(struct page *page) {
  if (page->head->state == SLAB || page->head->refcount <= 0) abort();
  page->head->refcount++;
}

/** As the kernel's bench_page_pool_simple: default ring, no node, no device; 64 pages in the ring. */
static void pool_set_up(void) {
  *pool = (struct pool){.id = 1, .out_state = 2, .nid = -1, .cpuid = -1, .cache_limit = CACHE_SIZE, .context = &context, .finds_local_puts = true};
  struct page *pages[64];
  for (int i = 0; i < 64; i++) pages[i] = pool_alloc(pool);
  for (int i = 0; i < 64; i++) pool_put(pool, pages[i], -1, false);
}
