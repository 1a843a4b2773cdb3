// A registry on this machine with what we would publish, packed from the build; all other packages are the usual registry's.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { PNPM, ROOT } from "./lib.mjs";

export class LocalRegistry {
  #packed = new Map();
  #upstream;
  #server;

  constructor(folder) {
    mkdirSync(folder, { recursive: true });
    execFileSync("npx", ["--yes", PNPM, "-r", "--filter", "./packages/*", "--filter", "./apps/cli", "--filter", "./apps/create-netmem", "pack", "--pack-destination", folder], { cwd: ROOT, stdio: "pipe" });
    for (const file of readdirSync(folder)) {
      const manifest = JSON.parse(execFileSync("tar", ["-xzOf", join(folder, file), "package/package.json"], { encoding: "utf8" }));
      this.#packed.set(manifest.name, { manifest, file, bytes: readFileSync(join(folder, file)) });
    }
    this.#upstream = execFileSync("npm", ["config", "get", "registry"], { cwd: ROOT, encoding: "utf8" }).trim().replace(/\/?$/, "/");
    this.#server = createServer((request, response) => {
      const path = decodeURIComponent(request.url.slice(1));
      const tarball = [...this.#packed.values()].find(({ file }) => path === `tarballs/${file}`);
      const packed = this.#packed.get(path);
      if (tarball !== undefined) response.end(tarball.bytes);
      else if (packed !== undefined) response.setHeader("content-type", "application/json").end(JSON.stringify(this.#document(packed)));
      else response.writeHead(302, { location: this.#upstream + request.url.slice(1) }).end();
    });
  }

  get names() {
    return [...this.#packed.keys()];
  }

  async listen() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this.#url();
  }

  close() {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #url() {
    return `http://127.0.0.1:${this.#server.address().port}/`;
  }

  #document({ manifest, file, bytes }) {
    const dist = { tarball: `${this.#url()}tarballs/${file}`, integrity: `sha512-${createHash("sha512").update(bytes).digest("base64")}` };
    return { name: manifest.name, "dist-tags": { latest: manifest.version }, versions: { [manifest.version]: { ...manifest, dist } } };
  }
}
