// The receive side of a driver without XDP: a frame copied into a posted page, an skb over it, its clone, and the end of both.

enum { SKB_STRUCT = 256, NAPI_CACHE = 64, NAPI_BULK = 16, PAD = 64, DATAREF_SHIFT = 16, ETH_HEADER = 14, RX_DONE = 1 << 30, WIRE_FRAMES = 64, WIRE_STRIDE = 2048 };
enum { ZEROCOPY_ENABLE = 1, DONT_ORPHAN = 8, MANAGED = 16, FCLONE_ORIG = 1, CONSUMED = 1 };

struct skb;
struct shared_info {
  uint32_t nr_frags, flags, gso_size, gso_segs, gso_type, meta_len, dataref;
  struct skb *frag_list;
  void *uarg;
  struct page *head_page;
  void *head_slab;
  uint32_t mem_type, mem_id;
  struct shared_info *next;
  struct frag frags[MAX_FRAGS];
};

struct skb {
  struct skb *next;
  uint32_t id, users, len, data_len, truesize, hdr_len, fclone, fclone_ref, protocol, rx_queue;
  uint8_t *head, *data, *tail, *end;
  struct shared_info *shinfo;
  void *dev, *destructor;
  struct skb *companion;
  int alloc_cpu;
  int64_t mac, network, transport;
  bool cloned, nohdr, pp_recycle, pfmemalloc, unreadable, redirected, free;
};

static struct { struct skb *slab, *napi; int napi_count; struct shared_info *infos; long allocs, clones; } structs;
static uint8_t wire[WIRE_FRAMES * WIRE_STRIDE];
static int32_t descriptors[RX_RING];
static uint32_t frame_bytes;
static void *skb_probe, *the_dev = &queue;
static bool fail_structs;

static struct skb *struct_out(struct skb *skb) {
  skb->free = false;
  skb->next = NULL;
  skb->id = ++structs.allocs & 0x7fffffff;
  return skb;
}

static struct skb *take_skb(void) {
  struct skb *skb = structs.slab;
  if (!skb) abort();
  structs.slab = skb->next;
  return struct_out(skb);
}

static struct skb *take_napi_skb(void) {
  if (!structs.napi_count) {
    struct skb *last = structs.napi = structs.slab;
    for (structs.napi_count = 1; structs.napi_count < NAPI_BULK; structs.napi_count++) last = last->next;
    structs.slab = last->next;
    last->next = NULL;
  }
  struct skb *skb = structs.napi;
  structs.napi = skb->next;
  structs.napi_count--;
  return struct_out(skb);
}

static void put_skb(struct skb *skb) {
  skb->free = true;
  skb->shinfo = NULL;
  if (skb->fclone) abort();
  skb->next = structs.slab;
  structs.slab = skb;
}

static struct shared_info *take_info(void) {
  struct shared_info *info = structs.infos;
  if (!info) abort();
  structs.infos = info->next;
  info->flags = info->gso_size = info->gso_segs = info->gso_type = info->meta_len = 0;
  info->dataref = 1;
  return info;
}

static __attribute__((noinline)) struct skb *napi_build_skb(struct page *page, uint32_t frag_size, uint32_t offset) {
  if (frag_size <= SHARED_INFO || offset + frag_size > 4096u << page->order) abort();
  if (fail_structs) return NULL;
  struct skb *skb = take_napi_skb();
  uint8_t *base = bytes_of(page) + offset;
  uint32_t size = frag_size - SHARED_INFO;
  skb->users = 1;
  skb->head = skb->data = skb->tail = base;
  skb->end = base + size;
  skb->len = skb->data_len = 0;
  skb->truesize = size + SKB_STRUCT + SHARED_INFO;
  struct shared_info *info = skb->shinfo = take_info();
  info->head_page = page;
  skb->cloned = skb->nohdr = skb->pp_recycle = skb->unreadable = skb->redirected = false;
  skb->hdr_len = 0;
  skb->alloc_cpu = context.cpu;
  skb->mac = skb->network = skb->transport = -1;
  skb->protocol = 0;
  skb->dev = NULL;
  skb->rx_queue = 0;
  skb->pfmemalloc = (page->pp_magic & PFMEMALLOC) != 0;
  return skb;
}

static void put_bytes(struct skb *skb, uint32_t bytes) {
  if (skb->tail + bytes > skb->end || skb->data_len) abort();
  skb->tail += bytes;
  skb->len += bytes;
}

static uint32_t eth_type_trans(struct skb *skb) {
  skb->mac = skb->data - memory;
  uint8_t *type = skb->data + ETH_HEADER - 2;
  if (ETH_HEADER > skb->len - skb->data_len) return 0;
  skb->data += ETH_HEADER;
  skb->len -= ETH_HEADER;
  return skb->protocol = (uint32_t)type[0] << 8 | type[1];
}

static __attribute__((noinline)) struct skb *skb_clone(struct skb *skb) {
  if (skb->free) abort();
  if ((skb->shinfo->flags & (ZEROCOPY_ENABLE | DONT_ORPHAN)) == ZEROCOPY_ENABLE) abort();
  if (skb->fclone == FCLONE_ORIG && skb->fclone_ref == 1) abort();
  if (fail_structs) return NULL;
  struct skb *clone = take_skb();
  clone->users = 1;
  clone->head = skb->head;
  clone->data = skb->data;
  clone->tail = skb->tail;
  clone->end = skb->end;
  clone->len = skb->len;
  clone->data_len = skb->data_len;
  clone->truesize = skb->truesize;
  clone->shinfo = skb->shinfo;
  clone->cloned = true;
  clone->hdr_len = skb->nohdr ? (uint32_t)(skb->data - skb->head) : skb->hdr_len;
  clone->nohdr = false;
  clone->pp_recycle = skb->pp_recycle;
  clone->pfmemalloc = skb->pfmemalloc;
  clone->unreadable = skb->unreadable;
  clone->alloc_cpu = skb->alloc_cpu;
  clone->mac = skb->mac;
  clone->network = skb->network;
  clone->transport = skb->transport;
  clone->protocol = skb->protocol;
  clone->dev = skb->dev;
  clone->rx_queue = skb->rx_queue;
  clone->redirected = skb->redirected;
  skb->cloned = true;
  skb->shinfo->dataref++;
  structs.clones++;
  return clone;
}

static void netmem_unref(struct skb *skb, struct page *page) {
  struct page *head = page->head;
  if (skb->pp_recycle && (head->pp_magic & ~3u) == PP_SIGNATURE) pool_put(head->pp, head, -1, false);
  else put_page(page);
}

static void release_data(struct skb *skb) {
  struct shared_info *info = skb->shinfo;
  if (skb->cloned) {
    uint32_t mine = skb->nohdr ? (1u << DATAREF_SHIFT) + 1 : 1;
    if (info->dataref != mine && (info->dataref -= mine)) {
      skb->pp_recycle = false;
      return;
    }
  }
  if (info->flags || info->nr_frags || info->frag_list) abort();
  if (info->head_page) netmem_unref(skb, info->head_page);
  else abort();
  skb->pp_recycle = false;
  info->uarg = NULL;
  info->next = structs.infos;
  structs.infos = info;
}

static __attribute__((noinline)) void drop_skb(struct skb *skb, uint32_t reason) {
  if (skb->free) abort();
  if (skb->users != 1) {
    skb->users--;
    return;
  }
  if (reason != CONSUMED && !reason) abort();
  if (skb_probe || skb->destructor) abort();
  if (skb->shinfo) release_data(skb);
  put_skb(skb);
}

static void skb_receive(void) {
  int at = next_posted;
  next_posted = (at + 1) & (RX_RING - 1);
  memcpy(bytes_of(posted[at]) + PAD, wire + at * WIRE_STRIDE, frame_bytes);
  descriptors[at] = (int32_t)(RX_DONE | frame_bytes);
  int32_t status = descriptors[at];
  if (!(status & RX_DONE)) abort();
  struct page *page = posted[at];
  posted[at] = pool_alloc(pool);
  descriptors[at] = 0;
  struct skb *skb = napi_build_skb(page, 4096, 0);
  skb->shinfo->mem_type = queue.mem.type;
  skb->shinfo->mem_id = queue.mem.id;
  skb->pp_recycle = true;
  skb->data += PAD;
  skb->tail += PAD;
  put_bytes(skb, (uint32_t)status & (RX_DONE - 1));
  skb->dev = the_dev;
  eth_type_trans(skb);
  struct skb *clone = skb_clone(skb);
  drop_skb(skb, CONSUMED);
  drop_skb(clone, CONSUMED);
}

// A driver with pages of its own, two packets to a page: it takes many references at once and gives one away with each packet.
enum { BIAS = 65535, HALF = 2048 };
static struct split_buffer { struct page *page; int64_t dma_addr; uint32_t offset; int bias; } split_buffers[RX_RING];
static bool need_sync;

static void split_receive(void) {
  int at = next_posted;
  next_posted = (at + 1) & (RX_RING - 1);
  struct split_buffer *buffer = &split_buffers[at];
  struct page *page = buffer->page;
  memcpy(bytes_of(page) + buffer->offset + PAD, wire + at * WIRE_STRIDE, frame_bytes);
  descriptors[at] = (int32_t)(RX_DONE | frame_bytes);
  int32_t status = descriptors[at];
  if (!(status & RX_DONE)) abort();
  descriptors[at] = 0;
  int count = page->refcount;
  if (need_sync) abort();
  buffer->bias--;
  struct skb *skb = napi_build_skb(page, HALF, buffer->offset);
  skb->data += PAD;
  skb->tail += PAD;
  put_bytes(skb, (uint32_t)status & (RX_DONE - 1));
  skb->dev = the_dev;
  eth_type_trans(skb);
  if (count - buffer->bias > 1) abort();
  buffer->offset ^= HALF;
  if (buffer->bias == 1) {
    page->refcount += BIAS - 1;
    buffer->bias = BIAS;
  }
  drop_skb(skb, CONSUMED);
  if (need_sync) abort();
}

static void split_set_up(void) {
  for (int i = 0; i < RX_RING; i++) {
    struct page *page = alloc_page(GFP_HIGH | GFP_KSWAPD);
    page->refcount += BIAS - 1;
    split_buffers[i] = (struct split_buffer){page, dma_map(page, 0, 4096, 2), 0, BIAS};
  }
}

static void skb_set_up(uint32_t bytes) {
  static struct skb skbs[256];
  static struct shared_info infos[64];
  frame_bytes = bytes;
  for (int i = 0; i < 256; i++) {
    skbs[i].free = true;
    skbs[i].next = structs.slab;
    structs.slab = &skbs[i];
  }
  for (int i = 0; i < 64; i++) {
    infos[i].next = structs.infos;
    structs.infos = &infos[i];
  }
  for (int i = 0; i < WIRE_FRAMES; i++) wire[i * WIRE_STRIDE + 12] = 0x08;
  for (int i = 0; i < RX_RING; i++) posted[i] = pool_alloc(pool);
}
