/**
 * Secrets in HashiCorp Vault (or OpenBao), KV version 2, over the guarded dialler: `vault:MOUNT/PATH#FIELD`.
 * Promises: only below the folders of the configuration, compared segment by segment, so that no spelling leaves them; the version is
 * Vault's own; a deleted or destroyed version is missing, not old. Not done here: the login (`vault-session.ts`).
 */
import { z } from 'zod';
import { MAX_SECRET_BYTES, type SecretSource, secretFault, versionOf } from './secret-source.ts';
import { type VaultOptions, refusal, vaultSession } from './vault-session.ts';

/** Where references may lead: `mount` is a KV 2 engine, `path` a folder in it (empty: all of it). */
export interface VaultFolder {
  readonly mount: string;
  readonly path: string;
}

export interface VaultSourceOptions extends VaultOptions {
  readonly folders: readonly VaultFolder[];
}

/** Nothing that a URL or a proxy reads in a second way. */
const SEGMENT = /^(?!\.{1,2}$)[A-Za-z0-9._@=+ -]{1,128}$/;
const FIELD = /^[A-Za-z0-9._-]{1,128}$/;

const Read = z.object({
  data: z.object({
    data: z.record(z.string(), z.unknown()).nullable(),
    metadata: z.object({
      version: z.number().int().min(1),
      destroyed: z.boolean().default(false),
      /** RFC 3339; in the future where the engine deletes by itself (`delete_version_after`). */
      deletion_time: z.string().default(''),
    }),
  }),
});

interface Place {
  readonly mount: string;
  readonly path: string;
  readonly field: string;
}

/** Null: not readable, or outside of every folder. */
export function vaultPlace(name: string, folders: readonly VaultFolder[]): Place | null {
  const match = /^vault:([^#]+)#([^#]+)$/.exec(name);
  if (match === null) return null;
  const [, whole = '', field = ''] = match;
  const segments = whole.split('/');
  if (!FIELD.test(field) || segments.length > 16 || segments.some((segment) => !SEGMENT.test(segment))) return null;
  const folder = folders
    .filter(({ mount, path }) => `${whole}/`.startsWith(`${mount}/${path === '' ? '' : `${path}/`}`))
    .toSorted((a, b) => b.mount.length - a.mount.length)[0];
  if (folder === undefined) return null;
  const path = whole.slice(folder.mount.length + 1);
  return path === '' ? null : { mount: folder.mount, path, field };
}

export function vaultSource(options: VaultSourceOptions): SecretSource {
  const session = vaultSession(options);
  const encoded = (path: string): string => path.split('/').map(encodeURIComponent).join('/');
  return {
    read: async (name) => {
      const shown = JSON.stringify(name.slice(0, 200));
      const place = vaultPlace(name, options.folders);
      if (place === null)
        throw secretFault(
          'secret_reference',
          `the secret reference ${shown} is refused: write vault:MOUNT/PATH#FIELD below a folder of secrets.vault.folders`,
        );
      const { status, body } = await session.get(`${encoded(place.mount)}/data/${encoded(place.path)}`);
      if (status === 404) throw secretFault('secret_missing', `the secret ${shown} is not there`);
      if (status !== 200) throw refusal(status, `the secret ${shown}`);
      const parsed = Read.safeParse(body);
      if (!parsed.success)
        throw secretFault('secret_unavailable', `the secret ${shown}: the answer is not one of KV version 2`);
      const { data, metadata } = parsed.data.data;
      const deletedAt = metadata.deletion_time === '' ? null : Date.parse(metadata.deletion_time);
      if (data === null || metadata.destroyed || (deletedAt !== null && !(deletedAt > options.clock.now())))
        throw secretFault('secret_missing', `the secret ${shown} was deleted`);
      const value = Object.hasOwn(data, place.field) ? data[place.field] : undefined;
      if (value === undefined || value === '') throw secretFault('secret_missing', `the secret ${shown} is not set`);
      if (typeof value !== 'string' || value.includes('\0') || Buffer.byteLength(value) > MAX_SECRET_BYTES)
        throw secretFault(
          'secret_reference',
          `the secret ${shown} is refused: it is no text of at most ${MAX_SECRET_BYTES} bytes`,
        );
      // Vault counts from 1 again after the metadata was deleted.
      return { value, version: `${metadata.version}-${versionOf(value)}`, expiresAt: deletedAt };
    },
  };
}
