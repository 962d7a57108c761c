/**
 * A registry of npm packages on this machine: packuments and archives that the test makes, served to the real npm client. What is published
 * can be changed under a version that exists already, as a compromised registry would.
 */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';

export interface TestPackage {
  readonly name: string;
  readonly version: string;
  /** Further members of package.json. */
  readonly manifest?: Readonly<Record<string, unknown>>;
  readonly files?: Readonly<Record<string, string>>;
}

export interface Registry {
  readonly url: string;
  /** The newest published is `latest`. Returns the integrity of the archive. */
  publish(one: TestPackage): string;
  /** Serves other bytes than the packument promises. */
  tamper(name: string, version: string, bytes: Uint8Array): void;
  readonly requests: readonly string[];
  close(): Promise<void>;
}

interface Published {
  readonly manifest: Record<string, unknown>;
  archive: Uint8Array;
  readonly integrity: string;
  readonly shasum: string;
}

export async function startRegistry(): Promise<Registry> {
  const packages = new Map<string, Map<string, Published>>();
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname).slice(1);
    requests.push(path);
    const [name = '', file] = path.split('/-/');
    const versions = packages.get(name);
    if (versions === undefined) return void response.writeHead(404, { 'content-type': 'application/json' }).end('{}');
    if (file !== undefined) {
      const version = file.slice(file.lastIndexOf('/') + 1).replace(/\.tgz$/, '');
      const found = versions.get(version);
      response.writeHead(found ? 200 : 404, { 'content-type': 'application/octet-stream' }).end(found?.archive);
      return;
    }
    const all = [...versions].map(([version, { manifest, integrity, shasum }]) => [
      version,
      { ...manifest, dist: { tarball: `${url}${name}/-/${version}.tgz`, integrity, shasum } },
    ]);
    const latest = [...versions.keys()].at(-1);
    const body = { name, 'dist-tags': { latest }, versions: Object.fromEntries(all) as unknown };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return {
    url,
    requests,
    publish({ name, version, manifest = {}, files = {} }) {
      const whole = { name, version, ...manifest };
      const archive = gzipSync(tar({ 'package.json': JSON.stringify(whole), ...files }));
      const integrity = `sha512-${createHash('sha512').update(archive).digest('base64')}`;
      const shasum = createHash('sha1').update(archive).digest('hex');
      const versions = packages.get(name) ?? new Map<string, Published>();
      packages.set(name, versions.set(version, { manifest: whole, archive, integrity, shasum }));
      return integrity;
    },
    tamper(name, version, bytes) {
      packages.get(name)!.get(version)!.archive = bytes;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** ustar, files only, under `package/`. */
function tar(files: Readonly<Record<string, string>>): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (const [path, text] of Object.entries(files)) {
    const data = Buffer.from(text);
    const header = Buffer.alloc(512);
    header.write(`package/${path}`, 0);
    header.write('0000644\0', 100);
    header.write('0000000\0', 108);
    header.write('0000000\0', 116);
    header.write(`${data.length.toString(8).padStart(11, '0')}\0`, 124);
    header.write('00000000000\0', 136);
    header.write('        0', 148);
    header.write('ustar\u000000', 257);
    const sum = header.reduce((all, byte) => all + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    blocks.push(header, data, Buffer.alloc((512 - (data.length % 512)) % 512));
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}
