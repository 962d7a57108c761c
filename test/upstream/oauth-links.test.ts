/** Links in a sealed file: what a restart keeps, and what a thief of the file has. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sealedBox } from '../../src/lib/sealed-box.ts';
import { linksInFile } from '../../src/upstream/oauth/link-file.ts';
import { consented, startOAuthRig } from './oauth-rig.ts';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'remit-links-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const key = randomBytes(32);
const store = (secret: Uint8Array = key) => linksInFile(join(folder, 'links.json'), sealedBox([secret], 'links test'));

describe('links in a file', () => {
  test('what was written is there after a restart, until it is forgotten', async () => {
    const one = store();
    expect(await one.read('a')).toBeNull();
    await Promise.all([one.write('a', 'link of a'), one.write('b', 'link of b'), one.write('a', 'newer link of a')]);
    expect([await store().read('a'), await store().read('b')]).toEqual(['newer link of a', 'link of b']);
    await one.write('a', null);
    expect([await store().read('a'), await store().read('b')]).toEqual([null, 'link of b']);
    expect(readdirSync(folder)).toEqual(['links.json']);
  });

  test('AN-12: the file is its owner’s alone, and holds no token in any spelling', async () => {
    const rig = await startOAuthRig({ links: store() });
    rig.site.token = () => ({
      body: { access_token: 'canary-access', token_type: 'Bearer', expires_in: 60, refresh_token: 'canary-refresh' },
    });
    const auth = consented();
    await rig.finish(auth, rig.callback((await rig.begin(auth)).url));
    const file = join(folder, 'links.json');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const text = readFileSync(file, 'latin1');
    for (const secret of ['canary-access', 'canary-refresh', `secret-of-${rig.site.issuer}`]) {
      expect(text).not.toContain(secret);
      expect(text).not.toContain(Buffer.from(secret).toString('base64url').slice(2, -2));
    }
    expect(await store().read('sink')).toContain('canary-refresh');
  });

  test('a link opens only for its own server, and only with the key', async () => {
    const file = join(folder, 'links.json');
    await store().write('a', 'link of a');
    const { a } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
    writeFileSync(file, JSON.stringify({ a, b: a }));
    expect([await store().read('a'), await store().read('b')]).toEqual(['link of a', null]);
    expect(await store(randomBytes(32)).read('a')).toBeNull();
  });

  test.each(['', '[]', '{"a":1', '{"a":"x","a":"y"}'])('a damaged file is not started over: %s', async (text) => {
    writeFileSync(join(folder, 'links.json'), text);
    await expect(store().write('a', 'link')).rejects.toMatchObject({ code: 'links_unreadable' });
    expect(readFileSync(join(folder, 'links.json'), 'utf8')).toBe(text);
  });
});
