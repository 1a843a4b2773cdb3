import { expect, test } from "vitest";
import { CaptureError, linkTypeName } from "../../src/api/index.ts";

test("a link type is shown with its name where it has one", () => {
  expect([linkTypeName(1), linkTypeName(276), linkTypeName(60_000)]).toEqual(["1 (ETHERNET)", "276 (LINUX_SLL2)", "60000"]);
});

test("a CaptureError says which file, which byte and what", () => {
  const error = new CaptureError("a/b.pcap", 42, "the file is damaged here");
  expect(error).toMatchObject({ name: "CaptureError", path: "a/b.pcap", byteOffset: 42, message: "a/b.pcap: byte 42: the file is damaged here" });
});
