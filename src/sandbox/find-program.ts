/** Where a program of the host is, by the search path that somebody gives and no other. */
import { access, constants } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';

/** The program of that name in an absolute folder of the search path; null: it is not there, or not to be executed. */
export async function findProgram(name: string, searchPath: string): Promise<string | null> {
  for (const folder of searchPath.split(delimiter)) {
    const program = join(folder, name);
    const usable = access(program, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isAbsolute(folder) && (await usable)) return program;
  }
  return null;
}
