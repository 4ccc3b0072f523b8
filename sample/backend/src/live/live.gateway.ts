import { WebSocketGateway, WebSocketServer } from "@nestjs/websockets";
import type { Server } from "socket.io";
import { environment } from "../config/environment";

@WebSocketGateway()
export class LiveGateway {
  @WebSocketServer()
  private readonly server!: Server;

  broadcast(event: string, payload: object): void {
    this.server.emit(event, { ...payload, version: environment.version });
  }
}
