import { SpareBacking } from "@netmem/mm";

let memory: SpareBacking | null = null;

/** What all machines of this process have for memory, one after the other. */
export function machineMemory(): SpareBacking {
  memory ??= new SpareBacking();
  return memory;
}
