/** Instructions of a program that only gives a verdict. @kernel struct bpf_insn (include/uapi/linux/bpf.h) */
const MOV64_IMM_R0 = 0xb7;
const EXIT = 0x95;
const INSTRUCTION_BYTES = 8;
const ELF_HEADER_BYTES = 64;
const SECTION_HEADER_BYTES = 64;
const SYMBOL_BYTES = 24;
const EM_BPF = 247;
const SHT = { progbits: 1, symtab: 2, strtab: 3 } as const;
/** Allocated and executable; allocated and written to. */
const SHF_CODE = 0x6;
const SHF_DATA = 0x3;
const GLOBAL_FUNCTION = 0x12;
const GLOBAL_OBJECT = 0x11;
const SECTION = "xdp";

interface Section {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly link?: number;
  readonly info?: number;
  readonly entryBytes?: number;
}

/** An object file with one XDP program that answers `verdict`, as `ip link set dev … xdp obj … sec xdp` loads it: no compiler is needed. */
export function xdpVerdictObject(verdict: number): Uint8Array {
  const program = new DataView(new ArrayBuffer(2 * INSTRUCTION_BYTES));
  program.setUint8(0, MOV64_IMM_R0);
  program.setInt32(4, verdict, true);
  program.setUint8(INSTRUCTION_BYTES, EXIT);
  const text = new TextEncoder();
  const symbolNames = text.encode("\0verdict\0_license\0");
  const symbols = new DataView(new ArrayBuffer(3 * SYMBOL_BYTES));
  symbol(symbols, 1, 1, GLOBAL_FUNCTION, 1, 2 * INSTRUCTION_BYTES);
  symbol(symbols, 2, 9, GLOBAL_OBJECT, 2, 4);
  const sections: readonly Section[] = [
    { name: "", type: 0, flags: 0, bytes: new Uint8Array(0) },
    { name: SECTION, type: SHT.progbits, flags: SHF_CODE, bytes: new Uint8Array(program.buffer) },
    { name: "license", type: SHT.progbits, flags: SHF_DATA, bytes: text.encode("GPL\0") },
    { name: ".symtab", type: SHT.symtab, flags: 0, bytes: new Uint8Array(symbols.buffer), link: 4, info: 1, entryBytes: SYMBOL_BYTES },
    { name: ".strtab", type: SHT.strtab, flags: 0, bytes: symbolNames },
  ];
  return elf(sections);
}

function symbol(view: DataView, index: number, name: number, info: number, section: number, size: number): void {
  const at = index * SYMBOL_BYTES;
  view.setUint32(at, name, true);
  view.setUint8(at + 4, info);
  view.setUint16(at + 6, section, true);
  view.setBigUint64(at + 16, BigInt(size), true);
}

/** A relocatable 64-bit little-endian ELF file of these sections, and one of their names. */
function elf(given: readonly Section[]): Uint8Array {
  let names = "";
  const nameOffsets: number[] = [];
  for (const name of [...given.map((section) => section.name), ".shstrtab"]) {
    nameOffsets.push(names.length);
    names += `${name}\0`;
  }
  const sections = [...given, { name: ".shstrtab", type: SHT.strtab, flags: 0, bytes: new TextEncoder().encode(names) } satisfies Section];
  const offsets: number[] = [];
  let end = ELF_HEADER_BYTES;
  for (const { bytes } of sections) {
    offsets.push(end);
    end = (end + bytes.length + 7) & ~7;
  }
  const file = new Uint8Array(end + sections.length * SECTION_HEADER_BYTES);
  const view = new DataView(file.buffer);
  // 0x7f ELF, 64 bits, little endian, version 1.
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 1, true);
  view.setUint16(18, EM_BPF, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(40, BigInt(end), true);
  view.setUint16(52, ELF_HEADER_BYTES, true);
  view.setUint16(58, SECTION_HEADER_BYTES, true);
  view.setUint16(60, sections.length, true);
  view.setUint16(62, sections.length - 1, true);
  for (const [i, { type, flags, bytes, link = 0, info = 0, entryBytes = 0 }] of sections.entries()) {
    file.set(bytes, offsets[i]!);
    const at = end + i * SECTION_HEADER_BYTES;
    view.setUint32(at, nameOffsets[i]!, true);
    view.setUint32(at + 4, type, true);
    view.setBigUint64(at + 8, BigInt(flags), true);
    view.setBigUint64(at + 24, BigInt(type === 0 ? 0 : offsets[i]!), true);
    view.setBigUint64(at + 32, BigInt(bytes.length), true);
    view.setUint32(at + 40, link, true);
    view.setUint32(at + 44, info, true);
    view.setBigUint64(at + 48, 8n, true);
    view.setBigUint64(at + 56, BigInt(entryBytes), true);
  }
  return file;
}
