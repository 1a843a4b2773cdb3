import { runInThisContext } from "node:vm";

/** Where the script finds what it is to call. */
const WORK = "netmemGuardedWork";

/** What `work` answers; throws `hangs()` if it has not returned after so many seconds, in whatever code it is then. It has ended there: nothing that it was working on is to be used again. */
export function within<T>(seconds: number, work: () => T, hangs: () => Error): T {
  const shared = globalThis as { [WORK]?: () => T };
  shared[WORK] = work;
  try {
    return runInThisContext(`${WORK}()`, { timeout: seconds * 1000 }) as T;
  } catch (error) {
    throw (error as NodeJS.ErrnoException | null | undefined)?.code === "ERR_SCRIPT_EXECUTION_TIMEOUT" ? hangs() : error;
  } finally {
    delete shared[WORK];
  }
}
