/** Error numbers as the kernel defines them; functions return them negated, as in C. `include/uapi/asm-generic/errno.h` */
export const ENOENT = 2;
export const EIO = 5;
export const E2BIG = 7;
export const ENOMEM = 12;
export const EFAULT = 14;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const EINVAL = 22;
export const ENOSPC = 28;
export const ERANGE = 34;
export const ENODATA = 61;
export const EOPNOTSUPP = 95;
export const ENETDOWN = 100;

const NAMES: Readonly<Record<number, string>> = {
  [ENOENT]: "ENOENT", [EIO]: "EIO", [E2BIG]: "E2BIG", [ENOMEM]: "ENOMEM",
  [EFAULT]: "EFAULT", [EBUSY]: "EBUSY", [EEXIST]: "EEXIST", [ENODEV]: "ENODEV", [EINVAL]: "EINVAL",
  [ENOSPC]: "ENOSPC", [ERANGE]: "ERANGE", [ENODATA]: "ENODATA", [EOPNOTSUPP]: "EOPNOTSUPP", [ENETDOWN]: "ENETDOWN",
};

/** `-22` → `-EINVAL`, for messages. Numbers without a name come back as digits. */
export function errnoName(negativeErrno: number): string {
  const name = NAMES[-negativeErrno];
  return name === undefined ? String(negativeErrno) : `-${name}`;
}
