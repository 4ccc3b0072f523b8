import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { BadRequestException } from "@nestjs/common";
import { FileInterceptor } from "@nestjs/platform-express";
import { diskStorage } from "multer";
import { environment } from "../config/environment";

export const UPLOADS_DIRECTORY = join(process.cwd(), "uploads");

const extension = (mimeType: string): string => mimeType.split("/")[1].replace(/[^a-z0-9].*$/, "");

export const PhotoUpload = FileInterceptor("photo", {
  storage: diskStorage({
    destination: UPLOADS_DIRECTORY,
    filename: (_request, file, done) => done(null, `${randomUUID()}.${extension(file.mimetype)}`),
  }),
  limits: { fileSize: environment.maxFileSize },
  fileFilter: (_request, file, done) =>
    environment.allowedFileTypes.includes(file.mimetype)
      ? done(null, true)
      : done(new BadRequestException(`photo: ${file.mimetype} is not one of ${environment.allowedFileTypes.join(", ")}`), false),
});
