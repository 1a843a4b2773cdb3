/** Error numbers as the kernel defines them; functions return them negated, as in C. `include/uapi/asm-generic/errno.h` */
export const ENOENT = 2;
export const EPERM = 1;
export const EIO = 5;
export const ENXIO = 6;
export const E2BIG = 7;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EFAULT = 14;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const EINVAL = 22;
export const ENOSPC = 28;
export const ERANGE = 34;
export const EBADRQC = 56;
export const ENODATA = 61;
export const EOVERFLOW = 75;
export const EMSGSIZE = 90;
export const EOPNOTSUPP = 95;
export const ENETDOWN = 100;
export const ENOBUFS = 105;
export const EADDRINUSE = 98;
export const ECONNRESET = 104;
export const ENOTCONN = 107;
export const ETOOMANYREFS = 109;
/** Not for user space, yet BPF helpers answer it. `include/linux/errno.h` */
export const ENOTSUPP = 524;

const NAMES: Readonly<Record<number, string>> = {
  [EPERM]: "EPERM", [ENOENT]: "ENOENT", [EIO]: "EIO", [ENXIO]: "ENXIO", [E2BIG]: "E2BIG", [EBADF]: "EBADF", [EAGAIN]: "EAGAIN", [ENOMEM]: "ENOMEM", [EACCES]: "EACCES",
  [EFAULT]: "EFAULT", [EBUSY]: "EBUSY", [EEXIST]: "EEXIST", [ENODEV]: "ENODEV", [EINVAL]: "EINVAL", [ENOSPC]: "ENOSPC", [ERANGE]: "ERANGE",
  [EBADRQC]: "EBADRQC", [ENODATA]: "ENODATA", [EOVERFLOW]: "EOVERFLOW", [EMSGSIZE]: "EMSGSIZE", [EOPNOTSUPP]: "EOPNOTSUPP",
  [ENETDOWN]: "ENETDOWN", [ENOBUFS]: "ENOBUFS", [ENOTCONN]: "ENOTCONN", [EADDRINUSE]: "EADDRINUSE", [ECONNRESET]: "ECONNRESET", [ETOOMANYREFS]: "ETOOMANYREFS", [ENOTSUPP]: "ENOTSUPP",
};

/** `-22` → `-EINVAL`, for messages. Numbers without a name come back as digits. */
export function errnoName(negativeErrno: number): string {
  const name = NAMES[-negativeErrno];
  return name === undefined ? String(negativeErrno) : `-${name}`;
}
