/** Error numbers as the kernel defines them; functions return them negated, as in C. `include/uapi/asm-generic/errno-base.h` */
export const ENOENT = 2;
export const EIO = 5;
export const E2BIG = 7;
export const ENOMEM = 12;
export const EFAULT = 14;
export const ENODEV = 19;
export const EINVAL = 22;
export const ENOSPC = 28;
export const EOPNOTSUPP = 95;

const NAMES: Readonly<Record<number, string>> = {
  [ENOENT]: "ENOENT", [EIO]: "EIO", [E2BIG]: "E2BIG", [ENOMEM]: "ENOMEM",
  [EFAULT]: "EFAULT", [ENODEV]: "ENODEV", [EINVAL]: "EINVAL",
  [ENOSPC]: "ENOSPC", [EOPNOTSUPP]: "EOPNOTSUPP",
};

/** `-22` → `-EINVAL`, for messages. Numbers without a name come back as digits. */
export function errnoName(negativeErrno: number): string {
  const name = NAMES[-negativeErrno];
  return name === undefined ? String(negativeErrno) : `-${name}`;
}
