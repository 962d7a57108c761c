/**
 * The two cookies of the admin listener: one for a sign-in under way, one for the session. Over https both are `__Host-` ones, so that no
 * neighbour host can plant its own (RFC 6265bis section 4.1.3.2); a plain name is for http on loopback alone.
 * Neither ever opens `/api/v1`: the API knows bearer tokens and nothing else.
 */
export interface Cookie {
  /** Null: not sent, or sent twice, and then nobody knows who set which. */
  read(header: string | undefined): string | null;
  /** `Set-Cookie`. `maxAgeSeconds` left out: until the browser closes. */
  set(value: string, maxAgeSeconds?: number): string;
  clear(): string;
}

const VALUE = /^[A-Za-z0-9_-]{1,3000}$/;

export function cookie(name: string, secure: boolean): Cookie {
  const full = `${secure ? '__Host-' : ''}${name}`;
  // Lax: the identity provider sends the person back from another site, and links in mails come from nowhere.
  const attributes = `Path=/; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
  return {
    read(header = '') {
      const values = header
        .split(';')
        .map((pair) => pair.trim())
        .filter((pair) => pair.startsWith(`${full}=`))
        .map((pair) => pair.slice(full.length + 1));
      const value = values.length === 1 ? values[0]! : '';
      return VALUE.test(value) ? value : null;
    },
    set: (value, maxAgeSeconds) =>
      `${full}=${value}; ${attributes}${maxAgeSeconds === undefined ? '' : `; Max-Age=${maxAgeSeconds}`}`,
    clear: () => `${full}=; ${attributes}; Max-Age=0`,
  };
}
