// The receive side of a driver with XDP: a ring of pages, an xdp_buff, a program, frames in the headroom of their pages.

enum { HEADROOM = 256, FRAME_BYTES = 40, SHARED_INFO = 320, FRAME_SZ = 4096, PACKET = 60, RX_RING = 64, TX_BULK = 16, MAX_FRAGS = 17 };
enum { ABORTED, DROP, PASS, TX, REDIRECT, HAS_FRAGS = 1, TYPE_PAGE_POOL = 2, NR_TYPES = 4 };

struct mem_info { uint32_t type, id; };
struct rxq { struct mem_info mem; uint32_t queue, frag_size; void *dev; };
struct frag { struct page *page; uint32_t offset, size; };

struct xdp_buff {
  struct rxq *rxq;
  struct page *head;
  uint32_t hard_start, data_meta, data, data_end, frame_sz, flags, nr_frags, frags_size, frags_truesize;
  struct frag frags[MAX_FRAGS];
};

// What lies in the headroom, of which the table of fragments is the packet's own: a pooled struct here as there.
struct xdp_frame {
  struct page *head;
  uint32_t data, len, headroom, metasize, frame_sz, flags, mem_type, mem_id, nr_frags, frags_size, frags_truesize;
  void *dev_rx;
  struct xdp_frame *next;
  struct frag frags[MAX_FRAGS];
};

struct md { struct xdp_buff *buff; uint8_t *packet; int32_t linear, meta; };
typedef int program(struct md *);
struct prog { program *run; long runs, faults; };

static uint8_t memory[(size_t)NR_PAGES << 12];
static struct rxq queue = {.mem = {TYPE_PAGE_POOL, 1}};
static struct xdp_buff the_buff = {.rxq = &queue};
static struct xdp_buff *const buff = &the_buff;
static struct page *posted[RX_RING];
static int next_posted;
static struct xdp_frame *free_frames, *tx_frames[TX_BULK];
static int tx_sent;
static bool no_direct[1];
static struct md ctx;

static uint8_t *bytes_of(struct page *page) {
  return memory + ((size_t)(page->pfn - FIRST_PFN) << 12);
}

static void check(struct md *md, int32_t offset, int32_t width) {
  if (offset < -md->meta || offset + width > md->linear) abort();
}

static uint32_t get8(struct md *md, int32_t at) { check(md, at, 1); return md->packet[at]; }
static uint32_t get16(struct md *md, int32_t at) { check(md, at, 2); return (uint32_t)md->packet[at] << 8 | md->packet[at + 1]; }
static uint32_t get32(struct md *md, int32_t at) {
  check(md, at, 4);
  return (uint32_t)md->packet[at] << 24 | (uint32_t)md->packet[at + 1] << 16 | (uint32_t)md->packet[at + 2] << 8 | md->packet[at + 3];
}
static void set16(struct md *md, int32_t at, uint32_t value) { check(md, at, 2); md->packet[at] = (uint8_t)(value >> 8); md->packet[at + 1] = (uint8_t)value; }
static void set32(struct md *md, int32_t at, uint32_t value) {
  check(md, at, 4);
  md->packet[at] = (uint8_t)(value >> 24);
  md->packet[at + 1] = (uint8_t)(value >> 16);
  md->packet[at + 2] = (uint8_t)(value >> 8);
  md->packet[at + 3] = (uint8_t)value;
}

static __attribute__((noinline)) int drop_udp(struct md *md) {
  if (md->linear < 34) return PASS;
  if (get16(md, 12) != 0x0800) return PASS;
  return get8(md, 23) == 17 ? DROP : PASS;
}

static __attribute__((noinline)) int swap_macs(struct md *md) {
  if (md->linear < 34 || get16(md, 12) != 0x0800) return PASS;
  uint32_t high = get32(md, 0), low = get16(md, 4);
  set32(md, 0, get32(md, 6));
  set16(md, 4, get16(md, 10));
  set32(md, 6, high);
  set16(md, 10, low);
  return TX;
}

static bool meta_unsupported(void) {
  return buff->data_meta > buff->data;
}

// By a pointer, as BPF programs are called.
static __attribute__((noinline)) int run_xdp(struct prog *prog) {
  prog->runs++;
  ctx.buff = buff;
  ctx.packet = bytes_of(buff->head) + buff->data;
  ctx.linear = (int32_t)(buff->data_end - buff->data);
  ctx.meta = meta_unsupported() ? 0 : (int32_t)(buff->data - buff->data_meta);
  int act = prog->run(&ctx);
  ctx.buff = NULL;
  ctx.linear = ctx.meta = 0;
  return act;
}

static void init_buff(uint32_t frame_sz) {
  if (frame_sz <= SHARED_INFO) abort();
  buff->frame_sz = frame_sz;
  buff->flags = 0;
  buff->nr_frags = 0;
}

static void prepare_buff(struct page *head, uint32_t hard_start, uint32_t headroom, uint32_t len, bool meta_valid) {
  uint32_t data = hard_start + headroom;
  buff->head = head;
  buff->hard_start = hard_start;
  buff->data = data;
  buff->data_end = data + len;
  buff->data_meta = meta_valid ? data : data + 1;
}

static void xdp_return(struct page *page, uint32_t type, uint32_t id, bool direct) {
  (void)id;
  switch (type) {
    case TYPE_PAGE_POOL: {
      struct page *head = page->head;
      struct pool *owner = head->pp;
      if (!owner) abort();
      pool_put(owner, head, -1, direct && !no_direct[context.cpu]);
      return;
    }
    default: put_page(page);
  }
}

static __attribute__((noinline)) void return_buff(void) {
  for (uint32_t i = 0; i < buff->nr_frags; i++) xdp_return(buff->frags[i].page, buff->rxq->mem.type, buff->rxq->mem.id, true);
  if (buff->head) xdp_return(buff->head, buff->rxq->mem.type, buff->rxq->mem.id, true);
  buff->head = NULL;
  buff->nr_frags = 0;
  buff->flags = 0;
}

static __attribute__((noinline)) struct xdp_frame *convert_buff(void) {
  struct xdp_frame *frame = free_frames;
  if (!frame) abort();
  uint32_t headroom = buff->data - buff->hard_start;
  uint32_t metasize = meta_unsupported() ? 0 : buff->data - buff->data_meta;
  if (headroom - metasize < FRAME_BYTES) return NULL;
  if (buff->data_end > buff->hard_start + buff->frame_sz - SHARED_INFO) return NULL;
  free_frames = frame->next;
  frame->next = NULL;
  frame->head = buff->head;
  frame->data = buff->data;
  frame->len = buff->data_end - buff->data;
  frame->headroom = headroom - FRAME_BYTES;
  frame->metasize = metasize;
  frame->frame_sz = buff->frame_sz;
  frame->flags = buff->flags;
  frame->nr_frags = 0;
  if (buff->flags & HAS_FRAGS) {
    frame->nr_frags = buff->nr_frags;
    frame->frags_size = buff->frags_size;
    frame->frags_truesize = buff->frags_truesize;
    memcpy(frame->frags, buff->frags, buff->nr_frags * sizeof *frame->frags);
  }
  frame->mem_type = buff->rxq->mem.type;
  frame->mem_id = buff->rxq->mem.id;
  buff->head = NULL;
  buff->nr_frags = 0;
  buff->flags = 0;
  return frame;
}

static __attribute__((noinline)) void return_frame_rx_napi(struct xdp_frame *frame) {
  if (!frame->head) abort();
  for (uint32_t i = 0; i < frame->nr_frags; i++) xdp_return(frame->frags[i].page, frame->mem_type, frame->mem_id, true);
  xdp_return(frame->head, frame->mem_type, frame->mem_id, true);
  frame->head = NULL;
  frame->dev_rx = NULL;
  frame->nr_frags = 0;
  frame->flags = 0;
  frame->next = free_frames;
  free_frames = frame;
}

static void xmit_back(void) {
  struct xdp_frame *frame = convert_buff();
  if (!frame) abort();
  tx_frames[tx_sent++] = frame;
  if (tx_sent < TX_BULK) return;
  for (int i = 0; i < TX_BULK; i++) return_frame_rx_napi(tx_frames[i]);
  tx_sent = 0;
}

static void xdp_receive(program *run) {
  static struct prog prog;
  prog.run = run;
  int at = next_posted;
  struct page *page = posted[at];
  posted[at] = pool_alloc(pool);
  next_posted = (at + 1) & (RX_RING - 1);
  init_buff(FRAME_SZ);
  prepare_buff(page, 0, HEADROOM, PACKET, true);
  switch (run_xdp(&prog)) {
    case TX: xmit_back(); return;
    case DROP: return_buff(); return;
    default: abort();
  }
}

static void xdp_set_up(void) {
  static struct xdp_frame frames[2 * TX_BULK];
  for (int i = 0; i < 2 * TX_BULK; i++) {
    frames[i].next = free_frames;
    free_frames = &frames[i];
  }
  for (int i = 0; i < RX_RING; i++) posted[i] = pool_alloc(pool);
  for (int i = 0; i < NR_PAGES; i++) {
    uint8_t *packet = bytes_of(&mem_map[i]) + HEADROOM;
    packet[12] = 0x08;
    packet[23] = 17;
  }
}
