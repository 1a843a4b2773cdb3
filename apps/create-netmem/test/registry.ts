import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

interface Packed {
  readonly manifest: { readonly name: string; readonly version: string };
  readonly file: string;
  readonly bytes: Buffer;
}

/** A registry on this machine with what we would publish, packed from the build; all other packages are the usual registry's. */
export class LocalRegistry {
  readonly #packed = new Map<string, Packed>();
  readonly #upstream: string;
  readonly #server: Server;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    execFileSync("npx", ["--yes", "pnpm@10.34.9", "-r", "--filter", "./packages/*", "--filter", "./apps/cli", "--filter", "./apps/create-netmem", "pack", "--pack-destination", folder], { cwd: ROOT, stdio: "pipe" });
    for (const file of readdirSync(folder)) {
      const manifest = JSON.parse(execFileSync("tar", ["-xzOf", join(folder, file), "package/package.json"], { encoding: "utf8" })) as Packed["manifest"];
      this.#packed.set(manifest.name, { manifest, file, bytes: readFileSync(join(folder, file)) });
    }
    this.#upstream = execFileSync("npm", ["config", "get", "registry"], { cwd: ROOT, encoding: "utf8" }).trim().replace(/\/?$/, "/");
    this.#server = createServer((request, response) => {
      const path = decodeURIComponent(request.url!.slice(1));
      const tarball = [...this.#packed.values()].find(({ file }) => path === `tarballs/${file}`);
      const packed = this.#packed.get(path);
      if (tarball !== undefined) response.end(tarball.bytes);
      else if (packed !== undefined) response.setHeader("content-type", "application/json").end(JSON.stringify(this.#document(packed)));
      else response.writeHead(302, { location: this.#upstream + request.url!.slice(1) }).end();
    });
  }

  get names(): readonly string[] {
    return [...this.#packed.keys()];
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this.#url();
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  #document({ manifest, file, bytes }: Packed): unknown {
    const dist = { tarball: `${this.#url()}tarballs/${file}`, integrity: `sha512-${createHash("sha512").update(bytes).digest("base64")}` };
    return { name: manifest.name, "dist-tags": { latest: manifest.version }, versions: { [manifest.version]: { ...manifest, dist } } };
  }
}
