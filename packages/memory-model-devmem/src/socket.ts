import { EFAULT, EINVAL, ENODEV } from "@netmem/kernel/api";
import { PAGE_SHIFT, type NetIov, type PayloadRegion } from "@netmem/mm/api";
import { forEachPiece, type MemoryModelDeps, type SkbPieces } from "@netmem/memory-model/api";
import type { SkBuff, TcpSocket } from "@netmem/net-core/api";
import type { NetmemFrag } from "@netmem/xdp/api";
import type { DmabufBinding } from "./binding.ts";

/** Ranges of tokens that one call returns, and frags. @kernel MAX_DONTNEED_TOKENS, MAX_DONTNEED_FRAGS (net/core/sock.c) */
export const MAX_DONTNEED_TOKENS = 128;
export const MAX_DONTNEED_FRAGS = 1024;

/** What a read says of its next bytes. @kernel struct dmabuf_cmsg (include/uapi/linux/uio.h), SCM_DEVMEM_DMABUF and SCM_DEVMEM_LINEAR */
export type DevmemCmsg =
  | { readonly kind: "dmabuf"; readonly dmabufId: number; /** Bytes into the dma-buf. */ readonly fragOffset: number; readonly fragSize: number; readonly fragToken: number }
  /** So many bytes were in the packet's head, and are in the buffer that was given. */
  | { readonly kind: "linear"; readonly fragSize: number };

/** Tokens from `tokenStart` on. @kernel struct dmabuf_token */
export interface DmabufToken {
  readonly tokenStart: number;
  readonly tokenCount: number;
}

/**
 * A connection that is read with MSG_SOCK_DEVMEM: each piece comes with a token, which is a reference of the user's until it is returned.
 * @kernel tcp_recvmsg_dmabuf (net/ipv4/tcp.c), sock_devmem_dontneed (net/core/sock.c), sk_user_frags
 */
export class DevmemSocket {
  readonly #deps: MemoryModelDeps;
  readonly #binding: DmabufBinding;
  readonly #socket: TcpSocket;
  /** By token; of those that are free the lowest is given next. @kernel sk->sk_user_frags, XA_FLAGS_ALLOC1 */
  readonly #tokens = new Map<number, NetIov>();
  #lowestFree = 1;
  readonly #pieces: SkbPieces = { linear: (skb, offset, bytes) => this.#linear(skb, offset, bytes), frag: (frag, skip, bytes) => this.#frag(frag, skip, bytes) };
  /** Of the call under way. */
  #cmsgs: DevmemCmsg[] = [];
  #user: PayloadRegion | null = null;
  #copied = 0;
  /** Its packets are unreadable, or they are not; null: it has had none. @kernel last_copied_dmabuf */
  #ofDevice: boolean | null = null;

  constructor(deps: MemoryModelDeps, binding: DmabufBinding, socket: TcpSocket) {
    this.#deps = deps;
    this.#binding = binding;
    this.#socket = socket;
  }

  /**
   * The next bytes, at most `bytes`, of packets that all lie in a device's memory, or all in the host's. Those of the host's are copied to the beginning of `user`, and nothing is said of them. Of a device's `cmsgs` gets what
   * they are, in order: pieces with tokens, and what of a packet was in its head, which is copied. How many; 0 at the end; -EAGAIN, -ECONNRESET; -EFAULT for bytes of the host's beyond `user`; -ENODEV for a frag that
   * is none of the binding's. Process context. @kernel tcp_recvmsg_locked, MSG_SOCK_DEVMEM
   */
  recvmsg(bytes: number, user: PayloadRegion, cmsgs: DevmemCmsg[]): number {
    this.#cmsgs = cmsgs;
    this.#user = user;
    this.#copied = 0;
    this.#ofDevice = null;
    return this.#socket.readSock(bytes, (skb, offset, part) => {
      if (this.#ofDevice !== null && this.#ofDevice !== skb.unreadable) return 0;
      this.#ofDevice = skb.unreadable;
      return skb.unreadable ? forEachPiece(skb, offset, part, this.#pieces) : this.#copy(skb, offset, part);
    });
  }

  /** Frags that were given back; -EINVAL for more ranges than MAX_DONTNEED_TOKENS. At most MAX_DONTNEED_FRAGS at a time; unknown tokens count for nothing. Process context. @kernel SO_DEVMEM_DONTNEED */
  dontneed(tokens: readonly DmabufToken[]): number {
    if (tokens.length > MAX_DONTNEED_TOKENS) return -EINVAL;
    let seen = 0;
    let returned = 0;
    for (const { tokenStart, tokenCount } of tokens) {
      for (let token = tokenStart; token < tokenStart + tokenCount; token++) {
        if (++seen > MAX_DONTNEED_FRAGS) return returned;
        const niov = this.#tokens.get(token);
        if (niov === undefined) continue;
        this.#tokens.delete(token);
        this.#lowestFree = Math.min(this.#lowestFree, token);
        this.#binding.provided.putUser(niov);
        returned++;
      }
    }
    return returned;
  }

  /** All its tokens go. Process context. @kernel tcp_release_user_frags */
  close(): void {
    for (const niov of this.#tokens.values()) this.#binding.provided.putUser(niov);
    this.#tokens.clear();
    this.#lowestFree = 1;
  }

  /** Tokens that the user has. */
  held(): number {
    return this.#tokens.size;
  }

  #copy(skb: SkBuff, offset: number, bytes: number): number {
    if (this.#copied + bytes > this.#user!.bytes.length || this.#deps.edit.skbCopyBits(skb, offset, this.#user!, this.#copied, bytes) < 0) return -EFAULT;
    this.#copied += bytes;
    return bytes;
  }

  #linear(skb: SkBuff, offset: number, bytes: number): number {
    const copied = this.#copy(skb, offset, bytes);
    if (copied > 0) this.#cmsgs.push({ kind: "linear", fragSize: copied });
    return copied;
  }

  /** @kernel tcp_xa_pool_refill, tcp_xa_pool_commit */
  #frag({ netmem, offset }: NetmemFrag, skip: number, bytes: number): number {
    if (!netmem!.isNetIov || !this.#binding.owns(netmem!)) return -ENODEV;
    const token = this.#lowestFree;
    this.#tokens.set(token, netmem!);
    while (this.#tokens.has(this.#lowestFree)) this.#lowestFree++;
    this.#binding.provided.giveToUser(netmem!);
    this.#cmsgs.push({ kind: "dmabuf", dmabufId: this.#binding.id, fragOffset: (netmem!.index << PAGE_SHIFT) + offset + skip, fragSize: bytes, fragToken: token });
    return bytes;
  }
}
