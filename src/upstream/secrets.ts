/**
 * References to secrets, resolved when a connection opens and never earlier: `env:NAME`, `file:PATH`. The value is
 * returned and kept nowhere; messages name the reference and never the value (NH-04, AN-12).
 */
import { open } from 'node:fs/promises';
import { isAbsolute, normalize } from 'node:path';
import { Fault } from '../lib/fault.ts';
import { MAX_SECRET_BYTES as MAX_BYTES, type SecretSource, versionOf } from './broker/secret-source.ts';
import type { SecretReference } from './target.ts';

/** What references may name. Left out: anything this process can read, which is right only for the operator's own configuration. */
export interface SecretScope {
  /** Variables must begin with this. */
  readonly envPrefix?: string;
  /** Files must lie in one of these folders. */
  readonly folders?: readonly string[];
}

/** @throws Fault `secret_reference` (not allowed or not readable as a reference), `secret_missing` (nothing there). */
export async function resolveSecret(
  { secret: reference }: SecretReference,
  env: Readonly<Record<string, string | undefined>>,
  scope: SecretScope = {},
): Promise<string> {
  const colon = reference.indexOf(':');
  const kind = reference.slice(0, colon);
  const name = reference.slice(colon + 1);
  if (kind === 'env') {
    if (!name.startsWith(scope.envPrefix ?? ''))
      throw refused(reference, `its name must begin with ${scope.envPrefix}`);
    return checked(reference, env[name]);
  }
  if (kind !== 'file') throw refused(reference, 'write env:NAME or file:PATH');
  if (!isAbsolute(name) || normalize(name) !== name) throw refused(reference, 'write an absolute, normalised path');
  const inside = scope.folders?.some((folder) => name.startsWith(`${folder}/`)) ?? true;
  if (!inside) throw refused(reference, 'its file lies outside of the folders for secrets');
  return checked(reference, await fileText(reference, name));
}

/** The same as a source, for names such as `env:NAME` and `file:PATH`. */
export function placesSource(env: Readonly<Record<string, string | undefined>>, scope: SecretScope = {}): SecretSource {
  return {
    read: async (name) => {
      const value = await resolveSecret({ secret: name }, env, scope);
      return { value, version: versionOf(value), expiresAt: null };
    },
  };
}

async function fileText(reference: string, path: string): Promise<string> {
  let file;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    throw new Fault('secret_missing', `the secret ${reference} cannot be read`, { cause });
  }
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_BYTES + 1), 0, MAX_BYTES + 1, 0);
    if (bytesRead > MAX_BYTES) throw refused(reference, `it is larger than ${MAX_BYTES} bytes`);
    // Editors and `echo` end a file with a line break that is no part of the secret.
    return buffer.toString('utf8', 0, bytesRead).replace(/\r?\n$/, '');
  } finally {
    await file.close();
  }
}

function checked(reference: string, value: string | undefined): string {
  if (value === undefined || value === '') throw new Fault('secret_missing', `the secret ${reference} is not set`);
  if (value.includes('\0')) throw refused(reference, 'it holds a NUL character');
  return value;
}

const refused = (reference: string, why: string): Fault =>
  new Fault('secret_reference', `the secret reference ${reference} is refused: ${why}`);
