/**
 * Who a page or net_iov returns to: the type of its `pp` word. A forward declaration, as in the kernel: mm knows that
 * there is an owner and nothing of what it can do; `xdp` narrows it to a memory model, in one place.
 */
export interface NetmemOwner {
  /** One of the `MEM_TYPE_*` numbers of the xdp layer. */
  readonly memType: number;
  /** Registry id, 1 … 0xFFFD, or 0 while not registered. */
  readonly memId: number;
}
